"""Build the documentation as a website in build/site, from docs/, benchmarks/, CONTRIBUTING.md and CHANGELOG.md.

    python scripts/build_site.py             needs the extra `docs`; opens from disk: build/site/index.html
    python scripts/build_site.py --pages     only collect the pages in build/docs, where mkdocs.yml expects them

In the repository links are relative paths, so that they work wherever the repository is browsed. Here the pages are
copied to build/docs and their links are adapted to the new places. A linked file that is not a page (a script, a TOML
file) is copied too; a link to a folder becomes plain text.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "build" / "docs"
LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<path>[^)\s#]*)(?P<anchor>#[^)\s]*)?\)")
CODE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
SKIP = re.compile(r"^```(\w+) skip$", re.MULTILINE)
"""The mark of an example that the tests do not execute."""
RENAMED = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks/index.md",
}


def site_path(source: Path) -> Path:
    """Return the place of a file of the repository in the site; both are relative."""
    path = RENAMED.get(source.as_posix(), source.as_posix())
    return Path(path.removeprefix("docs/"))


def pages() -> list[Path]:
    """Return the pages of the site. Notes that a script includes in its table are not pages."""
    benchmarks = [page for page in ROOT.glob("benchmarks/**/*.md") if not page.name.endswith("_notes.md")]
    return sorted([*ROOT.glob("docs/**/*.md"), *benchmarks, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"])


def collect_pages(destination: Path) -> None:
    """Copy all pages and the files that they link to, with adapted links."""
    if destination.exists():
        shutil.rmtree(destination)
    for source in (page.relative_to(ROOT) for page in pages()):
        target = destination / site_path(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = SKIP.sub(r"```\1", (ROOT / source).read_text())
        target.write_text(adapt_links(text, source, destination))


def adapt_links(text: str, source: Path, destination: Path) -> str:
    """Return the text of a page with links that are valid in the site. Copies linked files that are not pages."""

    def adapt(match: re.Match[str]) -> str:
        path = match["path"]
        if not path or re.match(r"[a-z]+:", path):
            return match[0]
        linked = Path(os.path.normpath(source.parent / path))
        if (ROOT / linked).is_dir():
            return match["text"]
        target = site_path(linked)
        if linked.suffix != ".md":
            (destination / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / linked, destination / target)
        relative = Path(os.path.relpath(target, site_path(source).parent)).as_posix()
        return f"{match['image']}[{match['text']}]({relative}{match['anchor'] or ''})"

    parts = CODE.split(text)
    return "".join(part if part.startswith("```") else LINK.sub(adapt, part) for part in parts)


def main(args: Sequence[str]) -> int:
    collect_pages(PAGES)
    if "--pages" in args:
        return 0
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "--config-file", "mkdocs.yml"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
