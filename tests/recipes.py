"""What several tests share of the specification, as it is printed: its recipes, its scriptlet."""

from __future__ import annotations

SPEC_RECIPES = {
    "my_first_recipe": """\
# my_first_recipe.yaml
metadata:
  name: "hello_framework0"
  version: "1.0"
  description: "Introduction to Framework0"

steps:
  - name: "greet"
    idx: 1
    type: "python"
    module: "builtins"
    function: "print"
    args:
      - "Hello from Framework0!"
""",
    "example_automation": """\
# example_automation.yaml
metadata:
  name: "data_processing_pipeline"
  version: "1.0"
  description: "Process and analyze data with dependencies"

steps:
  - name: "load_data"
    idx: 1
    type: "python"
    module: "scriptlets.data.loader"
    function: "DataLoaderScriptlet"
    args:
      source: "/path/to/data.csv"
    
  - name: "clean_data"
    idx: 2
    type: "python"
    module: "scriptlets.data.cleaner"
    function: "DataCleanerScriptlet"
    depends_on: ["load_data"]
    
  - name: "analyze_data"
    idx: 3
    type: "python"
    module: "scriptlets.analysis.analyzer"
    function: "DataAnalyzerScriptlet"
    depends_on: ["clean_data"]
""",  # noqa: W293
    "advanced_pipeline": """\
# advanced_pipeline.yaml
metadata:
  name: "advanced_data_pipeline"
  version: "2.0"

steps:
  - name: "setup"
    idx: 1
    module: "scriptlets.setup"
    function: "SetupScriptlet"
    
  - name: "process_a"
    idx: 2
    module: "scriptlets.processors"
    function: "ProcessorAScriptlet"
    depends_on: ["setup"]
    timeout: 60
    
  - name: "process_b"
    idx: 3
    module: "scriptlets.processors"  
    function: "ProcessorBScriptlet"
    depends_on: ["setup"]
    
  - name: "combine"
    idx: 4
    module: "scriptlets.combiners"
    function: "CombinerScriptlet"
    depends_on: ["process_a", "process_b"]
""",  # noqa: W291, W293
}

_SCRIPTLET = """\
from scriptlets.framework import BaseScriptlet, register_scriptlet


@register_scriptlet
class {name}(BaseScriptlet):
    def run(self, context, params):
        context.set(self.name, params)
        return {{"status": "success"}}
"""

SPEC_SCRIPTLETS = {
    "scriptlets/data/loader.py": ["DataLoaderScriptlet"],
    "scriptlets/data/cleaner.py": ["DataCleanerScriptlet"],
    "scriptlets/analysis/analyzer.py": ["DataAnalyzerScriptlet"],
    "scriptlets/setup.py": ["SetupScriptlet"],
    "scriptlets/processors.py": ["ProcessorAScriptlet", "ProcessorBScriptlet"],
    "scriptlets/combiners.py": ["CombinerScriptlet"],
}
"""The files that these recipes need beside them, and the scriptlets in each."""


def spec_scriptlet_files() -> dict[str, str]:
    """The text of each file of SPEC_SCRIPTLETS."""
    return {
        file: "\n\n".join(_SCRIPTLET.format(name=name) for name in names)
        for file, names in SPEC_SCRIPTLETS.items()
    }


SPEC_SCRIPTLET = '''\
from scriptlets.framework import BaseScriptlet, register_scriptlet
from orchestrator.context import Context
from typing import Dict, Any

@register_scriptlet
class CustomProcessorScriptlet(BaseScriptlet):
    """Custom data processing scriptlet with full Framework0 integration."""

    def __init__(self) -> None:
        """Initialize processor with configuration."""
        super().__init__()
        self.name = "custom_processor"
        self.version = "1.0"

    def run(self, context: Context, params: Dict[str, Any]) -> Dict[str, Any]:
        """Execute custom processing logic."""
        self.logger.info("Starting custom processing")

        # Access input data from context
        input_data = context.get("input_data", [])

        # Perform processing
        processed_data = self.process_data(input_data)

        # Store results in context
        context.set("processed_data", processed_data)
        context.set(f"{self.name}.completed", True)

        return {
            "status": "success",
            "records_processed": len(processed_data),
            "execution_time": self.get_execution_time()
        }

    def process_data(self, data: list) -> list:
        """Custom data processing logic."""
        return [item * 2 for item in data if item > 0]
'''
