# SPDX-License-Identifier: Apache-2.0
"""What deploy/quickstart has installed it takes away again, and what is somebody else's it leaves alone."""
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from support.mistd import ROOT

pytestmark = pytest.mark.release
SCRIPT = (ROOT / "deploy" / "quickstart").read_text()
FUNCTIONS = "\n".join(re.search(rf"^{name}\(\)\n\{{\n.*?^\}}\n", SCRIPT, re.MULTILINE | re.DOTALL)[0]
                      for name in ("remove_installed", "install_mist", "uninstall_mist"))
NOBODY = 65534


@pytest.fixture
def checkout(tmp_path):
    """With as much as the script reads before it does anything."""
    root = tmp_path / "checkout"
    shutil.copytree(ROOT / "deploy", root / "deploy")
    shutil.copytree(ROOT / "configs", root / "configs")
    return root


@pytest.fixture
def tools(tmp_path):
    """`meson install` of here makes the files of $FILES; ldconfig does nothing."""
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / "meson").write_text("""#!/bin/sh -e
mkdir -p "$3/meson-logs"
echo "# by meson" >"$3/meson-logs/install-log.txt"
for file in $FILES; do
	mkdir -p "$(dirname "$file")" && touch "$file"
	echo "$file" >>"$3/meson-logs/install-log.txt"
done
""")
    (folder / "ldconfig").write_text("#!/bin/sh\n")
    for tool in folder.iterdir():
        tool.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(tmp_path)}


def there(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def install(checkout, tools, prefix, *files):
    home = checkout / ".mist"
    home.mkdir(exist_ok=True)
    script = f"set -euo pipefail; home={home} prefix={prefix} installed={home}/installed-files\n{FUNCTIONS}\ninstall_mist"
    subprocess.run(["bash", "-c", script], env={**tools, "FILES": " ".join(f"{prefix}/{file}" for file in files)}, check=True)


def quickstart(checkout, tools, *words, as_nobody=False, **env):
    command = [checkout / "deploy" / "quickstart", *words]
    if as_nobody and os.getuid() == 0:
        command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command]
    done = subprocess.run(command, env={**tools, **env}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_what_was_installed_goes_and_nothing_else(checkout, tools, tmp_path):
    prefix = tmp_path / "prefix"
    install(checkout, tools, prefix, "bin/mist", "bin/old", "share/mist/python/mist/worker.py")
    (prefix / "bin" / "other").touch()
    (prefix / "share" / "mist" / "python" / "mist" / "__pycache__").mkdir()
    (prefix / "share" / "mist" / "python" / "mist" / "__pycache__" / "worker.pyc").touch()
    install(checkout, tools, prefix, "bin/mist", "share/mist/python/mist/worker.py")
    assert [name for name in there(prefix) if name.startswith("bin")] == ["bin/mist", "bin/other"], "a newer version has no bin/old"
    shutil.rmtree(checkout / ".mist" / "build")  # as other options do
    status, said = quickstart(checkout, tools, "--uninstall")
    assert (status, there(prefix)) == (0, ["bin/other"]), said
    assert quickstart(checkout, tools, "--uninstall")[0] == 0 and there(prefix) == ["bin/other"]


def test_another_prefix_takes_the_place_of_the_first(checkout, tools, tmp_path):
    install(checkout, tools, tmp_path / "one", "bin/mist", "share/mist/configs/mist.conf")
    install(checkout, tools, tmp_path / "two", "bin/mist")
    assert there(tmp_path / "one") == [] and there(tmp_path / "two") == ["bin/mist"]


def test_what_belongs_to_another_user_is_named_with_the_remedy(tools):
    with tempfile.TemporaryDirectory(prefix="mist-test-") as folder:  # where others may look
        root = Path(folder)
        root.chmod(0o755)
        shutil.copytree(ROOT / "deploy", root / "deploy")
        (root / ".mist").mkdir(mode=0o555)
        status, said = quickstart(root, tools, "--uninstall", as_nobody=True)
    assert status == 1 and "run this as that user, or remove it" in said and "Permission denied" not in said


def test_settings_that_are_not_there_are_named(checkout, tools):
    status, said = quickstart(checkout, tools, MIST_CONFIG="none/none.conf")
    assert status == 1
    assert re.search(r"MIST_CONFIG must name a file of settings, and /\S+/none/none\.conf cannot be read", said)
