# SPDX-License-Identifier: Apache-2.0
"""The test bed: virtual machines, network namespaces, vpfd, and DPDK and Open vSwitch as peers. See docs/test-bed.md."""
