import json

from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.cli.conftest import Cli


def test_the_document_is_written(cli: Cli) -> None:
    document = json.loads(cli("openapi").stdout)
    OpenAPIV31SpecValidator(document).validate()
    assert "/api/v1/runs/{run_id}" in document["paths"]
