"""Regenerate the Python stubs of protos/ into the source tree.

Usage: python scripts/generate_stubs.py [--check]

With --check nothing is written: the exit status is 1 and a list is printed when a stub differs from what its proto
gives.
"""

from __future__ import annotations

import argparse
import filecmp
import sys
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
INIT = '"""Generated from protos/: do not edit. Run `make proto`."""\n'


def generate(out: Path) -> None:
    """Write all stubs below `out`."""
    wellknown = Path(grpc_tools.__file__).parent / "_proto"
    include = [f"-I{PROTOS}", f"-I{wellknown}"]
    own = sorted(str(p.relative_to(PROTOS)) for p in (PROTOS / "vidi").rglob("*.proto"))
    vendored = sorted(str(p.relative_to(PROTOS)) for p in (PROTOS / "buf").rglob("*.proto"))
    python = [f"--python_out={out}", f"--pyi_out={out}"]
    for args in ([*python, f"--grpc_python_out={out}", *own], [*python, *vendored]):
        if protoc.main(["protoc", *include, *args]) != 0:
            raise SystemExit("protoc failed")
    for path in out.rglob("*_pb2_grpc.py"):  # messages alone need no service module
        if "_pb2_grpc" in path.name and "Servicer" not in path.read_text():
            path.unlink()
    folders = {p.parent for p in out.rglob("*_pb2.py")}
    for folder in sorted(folders):
        while folder != out and folder != out / "vidi":
            init = folder / "__init__.py"
            init.write_text(INIT)
            folder = folder.parent


def main() -> int:
    """Generate, or compare with what stands in the tree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as tmp:
        out = Path(tmp)
        generate(out)
        fresh = {p.relative_to(out) for p in out.rglob("*") if p.is_file()}
        present = {
            p.relative_to(ROOT)
            for base in ("vidi/api", "buf")
            for p in (ROOT / base).rglob("*.py*")
            if p.suffix in {".py", ".pyi"}
        }
        if check:
            wrong = sorted(
                str(p)
                for p in fresh | present
                if p not in fresh or p not in present or not filecmp.cmp(out / p, ROOT / p, False)
            )
            if wrong:
                print("stubs differ from protos/ (run `make proto`):", *wrong, sep="\n  ")
            return 1 if wrong else 0
        for path in present - fresh:
            (ROOT / path).unlink()
        for path in fresh:
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_bytes((out / path).read_bytes())
    return 0


if __name__ == "__main__":
    sys.exit(main())
