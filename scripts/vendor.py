"""Fetch the libraries of the page by npm, at the versions that are named here: `make vendor`.

Each file is kept beside the page as its package ships it, but for the names that it imports by,
which a browser can't look up, and the link to a source map that isn't here. `vendor.json` says what
is there; a test compares it with the files.
"""

import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

VENDOR = Path(__file__).parents[1] / "adapters" / "web" / "page" / "static" / "vendor"

#: Of each package: its version, its license's file, and the files that are taken, by their names
#: here.
PACKAGES: dict[str, tuple[str, str, dict[str, str]]] = {
    "preact": (
        "11.2.0",
        "LICENSE",
        {"preact.js": "dist/preact.mjs", "hooks.js": "hooks/dist/hooks.mjs"},
    ),
    "htm": ("3.1.1", "LICENSE", {"htm.js": "dist/htm.mjs"}),
    "@dagrejs/dagre": ("3.1.3", "LICENSE", {"dagre.js": "dist/dagre.esm.js"}),
}

#: What a browser finds instead of the names of packages.
IMPORTS = {'from"preact"': 'from"./preact.js"'}


def main() -> None:
    VENDOR.mkdir(parents=True, exist_ok=True)
    taken = [told for name in PACKAGES for told in take(name)]
    (VENDOR / "vendor.json").write_text(json.dumps(taken, indent=2) + "\n")
    for told in taken:
        print(f"{told['file']}: {told['package']} {told['version']}", file=sys.stderr)


def take(name: str) -> list[dict[str, Any]]:
    """Fetch a package and keep what is wanted of it; what there is to tell of each file."""
    version, license_file, files = PACKAGES[name]
    with tempfile.TemporaryDirectory() as folder:
        packed = subprocess.run(
            ["npm", "pack", "--json", "--pack-destination", folder, f"{name}@{version}"],
            check=True,
            capture_output=True,
            text=True,
        )
        described = json.loads(packed.stdout)
        [package] = described.values() if isinstance(described, dict) else described
        [archive] = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as opened:
            named = f"{name.rpartition('/')[2]}.LICENSE"
            (VENDOR / named).write_text(text_of(opened, license_file))
            told = []
            for file, origin in files.items():
                content = for_browsers(text_of(opened, origin))
                (VENDOR / file).write_text(content)
                told.append(
                    {
                        "file": file,
                        "package": name,
                        "version": version,
                        "origin": origin,
                        "license": named,
                        "integrity": package["integrity"],
                        "sha256": hashlib.sha256(content.encode()).hexdigest(),
                    }
                )
    return told


def text_of(archive: tarfile.TarFile, path: str) -> str:
    member = archive.extractfile(f"package/{path}")
    assert member is not None, path
    return member.read().decode()


def for_browsers(source: str) -> str:
    for name, path in IMPORTS.items():
        source = source.replace(name, path)
    return re.sub(r"^//# sourceMappingURL=.*\n?", "", source, flags=re.MULTILINE)


if __name__ == "__main__":
    main()
