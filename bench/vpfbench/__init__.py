# SPDX-License-Identifier: Apache-2.0
"""vpf beside its peers: what bench/run runs."""
