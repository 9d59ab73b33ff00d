# SPDX-License-Identifier: Apache-2.0
"""The test bed: virtual machines, network namespaces, vpfd, and DPDK and Open vSwitch as peers. See docs/test-bed.md."""

import os
import tempfile

# A UNIX socket's path has room for 107 bytes, and those of the tests are in temporary directories.
if len(tempfile.gettempdir()) > 20:
    tempfile.tempdir = os.environ["TMPDIR"] = "/tmp"
