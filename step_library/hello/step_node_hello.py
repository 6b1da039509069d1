"""The first step: greets whoever the parameter file names."""

from octo_step_engine_parameters import octo_step_engine_parameters


class step_node_hello:
    """Says hello, and leaves its words in the parameter file for the next step."""

    step_node_graph_dict = {
        "step_node_hello": {
            "module_name_string": "step_node_hello",
            "node_step_name_string": "step_node_hello",
            "dg_node_attr_dict": {"label": "hello"},
            "first_node_step_bool": 1,
        },
    }

    step_arrow_graph_dict = {
        "goodbye": {
            "module_name_string": "step_node_goodbye",
            "arrow_step_name_string": "step_node_goodbye",
            "dg_edge_attr_dict": {"label": "then"},
        },
    }

    # What a new instance starts with; change it in the parameter file before a run.
    step_node_params_dict_init = {"step_node_hello": {"who": "world"}}

    def __init__(self, name: str, verbose_flag: bool = False) -> None:
        self.name = name
        self.params_obj = octo_step_engine_parameters()
        self.default_dict = self.params_obj.get_default_param_dict()
        self.param_file = self.params_obj.get_default_param_file_name()
        self.lock_file = self.params_obj.get_default_param_lock_file_name()

    def step_execute(self) -> int:
        """Greet, and keep the greeting."""
        parameters = self.params_obj.read_json_dict(
            self.default_dict, self.param_file, self.lock_file
        )
        greeting = f"Hello, {parameters['step_node_hello']['who']}!"
        print(greeting)
        self.params_obj.update_json_dict(
            self.default_dict,
            self.param_file,
            self.lock_file,
            "step_node_hello",
            "greeting",
            greeting,
        )
        return 0
