from tests.cli.conftest import Cli
from tests.cli.sample import parcels

TARGET = "tests.cli.sample:parcels"


def test_the_diagram_is_mermaid_text(cli: Cli) -> None:
    assert cli("graph", TARGET).stdout == parcels.mermaid()
    assert cli("graph", TARGET, "--direction", "LR").stdout == parcels.mermaid("LR")


def test_another_direction_is_a_wrong_command_line(cli: Cli) -> None:
    assert cli("graph", TARGET, "--direction", "UP").exit_code == 2
