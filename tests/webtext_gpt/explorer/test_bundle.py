"""ES modules as one script: what runs first, and which forms are refused."""

from pathlib import Path
from typing import Any

import pytest

from webtext_gpt.explorer.bundle import bundle


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


def test_modules_run_once_each_after_those_that_they_import(browser: Any, tmp_path: Path) -> None:
    _write(
        tmp_path,
        {
            "main.js": 'import { sum } from "./sub/sum.js";\n'
            'import { one as unit } from "./one.js";\n'
            "export const three = sum(unit, 2);\nexport async function later() {}\n",
            # `hidden` has the same name in two modules
            "sub/sum.js": 'import {\n  one,\n} from "../one.js";\nconst hidden = 0 * one;\n'
            "export function sum(a, b) { return a + b + hidden; }\nexport class Sum {}\n",
            "one.js": "const hidden = 1;\nexport const one = hidden;\n"
            "globalThis.runs = (globalThis.runs ?? 0) + 1;\n",
        },
    )
    script = bundle(tmp_path, "main.js")
    found = browser.run(
        script + 'return [modules["main.js"].three, globalThis.runs,'
        "Object.values(modules).flatMap(Object.keys).sort()];"
    )
    assert found == [3, 1, ["Sum", "later", "one", "sum", "three"]]


@pytest.mark.parametrize(
    "line",
    [
        'import "./one.js";',
        'import one from "./one.js";',
        'import * as one from "./one.js";',
        'import { d3 } from "https://example.com/d3.js";',
        'const one = await import("./one.js");',
        "export default 1;",
        "export { one };",
        "export let one = 1;",
    ],
)
def test_other_forms_are_refused(line: str, tmp_path: Path) -> None:
    _write(tmp_path, {"main.js": f"{line}\n", "one.js": "export const one = 1;\n"})
    with pytest.raises(ValueError, match=r"main\.js has a form that cannot be bundled"):
        bundle(tmp_path, "main.js")


def test_modules_that_import_each_other_are_refused(tmp_path: Path) -> None:
    a, b = (f'import {{ x }} from "./{name}.js";\nexport const y = 1;\n' for name in "ba")
    _write(tmp_path, {"a.js": a, "b.js": b})
    with pytest.raises(ValueError, match=r"each other: a\.js -> b\.js -> a\.js"):
        bundle(tmp_path, "a.js")
