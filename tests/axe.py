"""axe-core, which finds in a page what shuts readers out: too little contrast, what has no name, what no key reaches.

It comes from the npm registry, of one version, with npm, and is kept in pytest's cache; it is no part of the project.
Without npm or the registry its tests are skipped; with PVT_REQUIRE_AXE=1 they fail there instead.
"""

import base64
import hashlib
import shutil
import subprocess
import tarfile

import pytest

from tests.processes import do_without

VERSION = "4.14.1"
SHA512 = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="  # the registry's


@pytest.fixture(scope="session")
def axe(request):
    """axe(driver): a line for each violation on the page that the browser shows."""
    folder = request.config.cache.mkdir("axe-core")
    package = folder / f"axe-core-{VERSION}.tgz"
    if not package.exists():
        if not (npm := shutil.which("npm")):
            do_without("AXE", "axe-core is not here, and npm, which fetches it, is not installed")
        done = subprocess.run([npm, "pack", f"axe-core@{VERSION}"], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            do_without("AXE", f"npm could not fetch axe-core: {done.stderr.strip()[-300:]}")
    assert base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode() == SHA512
    with tarfile.open(package) as files:
        script = files.extractfile("package/axe.min.js").read().decode()

    def violations(driver):
        driver.execute_script(script)
        driver.set_script_timeout(100)  # seconds, for a busy machine
        found = driver.execute_async_script("axe.run({resultTypes: ['violations']}).then(arguments[0])")["violations"]
        return [f"{one['id']}: {one['help']}: {node['html'][:200]}" for one in found for node in one["nodes"]]

    return violations
