"""The files of this project, for the repository checks."""
import subprocess
import sys
from pathlib import Path

SKIPPED_FOLDERS = {".git", "build", "node_modules", "__pycache__"}


def own_files(root: Path) -> list[Path]:
    """Paths relative to `root`: what git tracks or would track, or everything where there is no git."""
    git = subprocess.run(
        ["git", "-c", f"safe.directory={root}", "-C", str(root),
         "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True, check=False) if (root / ".git").exists() else None
    if git is not None and git.returncode == 0:
        names = [Path(name) for name in git.stdout.decode().split("\0") if name]
        return sorted(path for path in set(names) if (root / path).is_file())
    return sorted(
        path.relative_to(root) for path in root.rglob("*")
        if path.is_file() and not SKIPPED_FOLDERS & set(path.relative_to(root).parts))


def cpp_files(root: Path) -> list[Path]:
    """Also .inc: what several sources include in the middle, and no header of its own."""
    return [path for path in own_files(root) if path.suffix in (".h", ".cpp", ".inc")]


def bash_files(root: Path) -> list[Path]:
    def is_bash(path):
        with (root / path).open("rb") as file:
            return file.readline().rstrip().endswith(b"bash")
    return [path for path in own_files(root) if path.suffix in ("", ".sh") and is_bash(path)]


if __name__ == "__main__":  # for scripts: repo_files.py cpp|bash, names between NULs
    found = {"cpp": cpp_files, "bash": bash_files}[sys.argv[1]](Path.cwd())
    print(*found, sep="\0", end="")
    sys.exit(0 if found else "there are no such files")
