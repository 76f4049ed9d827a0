# SPDX-License-Identifier: Apache-2.0
"""All but one thing is in pyproject.toml: frames.json, of which the source tree has one copy, goes into the built
package."""

import os
import shutil

from setuptools import setup
from setuptools.command.build_py import build_py

FRAMES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "proto", "frames.json")


class BuildWithFrames(build_py):
    def run(self):
        super().run()
        shutil.copyfile(FRAMES, os.path.join(self.build_lib, "mist", "frames.json"))


setup(cmdclass={"build_py": BuildWithFrames})
