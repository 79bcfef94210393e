"""Docstrings of Python files, and the packages that identify an environment."""

from pathlib import Path

from webtext_gpt.data.docstrings import _docstrings_of, installed_packages


def test_docstrings_of_one_file(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text(
        '"""The module."""\n'
        "class A:\n"
        '    """A class.\n\n        Indented.\n    """\n'
        "    if True:\n"
        "        async def f(self):\n"
        '            """A method."""\n'
        "try:\n    pass\nexcept ValueError:\n"
        "    def g():\n"
        '        """In a handler."""\n'
        'x = """no docstring"""\n'
    )
    expected = ["The module.", "A class.\n\nIndented.", "A method.", "In a handler."]
    assert _docstrings_of(str(source)) == expected
    source.write_text('print """Python 2"""')
    assert _docstrings_of(str(source)) == []


def test_the_environment_names_its_packages() -> None:
    packages = installed_packages()
    assert any(p.startswith("torch==") for p in packages)
    assert not any(p.startswith("webtext-gpt==") for p in packages)
