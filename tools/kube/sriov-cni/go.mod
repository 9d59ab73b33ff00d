// SPDX-License-Identifier: Apache-2.0

module github.com/intel/sriov-cni

go 1.25

require (
	github.com/containernetworking/cni v0.6.0
	github.com/containernetworking/plugins v0.7.5
	github.com/coreos/go-iptables v0.4.1 // indirect
	github.com/vishvananda/netlink v1.0.0
	github.com/vishvananda/netns v0.0.5 // indirect
	golang.org/x/sys v0.30.0 // indirect
)
