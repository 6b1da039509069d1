"""The second step: reads what the first one left in the parameter file."""

from octo_step_engine_parameters import octo_step_engine_parameters


class step_node_goodbye:
    """Says goodbye, and ends the run: no arrow leads on from here."""

    step_node_graph_dict = {
        "step_node_goodbye": {
            "module_name_string": "step_node_goodbye",
            "node_step_name_string": "step_node_goodbye",
            "dg_node_attr_dict": {"label": "goodbye"},
        },
    }

    def __init__(self, name: str, verbose_flag: bool = False) -> None:
        self.name = name
        self.params_obj = octo_step_engine_parameters()
        self.default_dict = self.params_obj.get_default_param_dict()
        self.param_file = self.params_obj.get_default_param_file_name()
        self.lock_file = self.params_obj.get_default_param_lock_file_name()

    def step_execute(self) -> int:
        """Print what the first step said."""
        parameters = self.params_obj.read_json_dict(
            self.default_dict, self.param_file, self.lock_file
        )
        greeting = parameters["step_node_hello"]["greeting"]
        print(f"I said {greeting!r}. Goodbye!")
        return 0
