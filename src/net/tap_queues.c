/* SPDX-License-Identifier: Apache-2.0 */

#include "net/tap_queues.h"

#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>

#include "vhost/virtio.h"

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

bool tap_has_uso(void)
{
	unsigned int major = 0, minor = 0;
	struct utsname u;

	/* The only way to ask the tap itself is to change it, and it may be in use. */
	if (uname(&u) < 0 || sscanf(u.release, "%u.%u", &major, &minor) != 2)
		return false;
	return major > 6 || (major == 6 && minor >= 2);
}

uint64_t tap_features(void)
{
	return VIRTIO_NET_OFFLOADS | (tap_has_uso() ? VIRTIO_NET_OFFLOADS_USO : 0);
}

int tap_set_offload(int fd, uint64_t features)
{
	unsigned int offload = 0;

	if (virtio_has(features, VIRTIO_NET_F_GUEST_CSUM)) {
		offload |= TUN_F_CSUM;
		if (virtio_has(features, VIRTIO_NET_F_GUEST_TSO4))
			offload |= TUN_F_TSO4;
		if (virtio_has(features, VIRTIO_NET_F_GUEST_TSO6))
			offload |= TUN_F_TSO6;
		if (offload & (TUN_F_TSO4 | TUN_F_TSO6) && virtio_has(features, VIRTIO_NET_F_GUEST_ECN))
			offload |= TUN_F_TSO_ECN;
		/* The kernel accepts only both or neither. */
		if (virtio_has(features, VIRTIO_NET_F_GUEST_USO4) &&
		    virtio_has(features, VIRTIO_NET_F_GUEST_USO6) && tap_has_uso())
			offload |= TUN_F_USO4 | TUN_F_USO6;
	}
	return ioctl(fd, TUNSETOFFLOAD, offload) < 0 ? -errno : 0;
}

static int set_queue(int fd, bool use)
{
	struct ifreq ifr = {0};

	if (ioctl(fd, TUNGETIFF, &ifr) < 0)
		return -errno;
	if (use == !(ifr.ifr_flags & IFF_DETACH_QUEUE) || !(ifr.ifr_flags & IFF_MULTI_QUEUE))
		return 0;
	ifr.ifr_flags = use ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE;
	return ioctl(fd, TUNSETQUEUE, &ifr) < 0 ? -errno : 0;
}

int tap_set_queues(const int *fd, unsigned int n, uint32_t pairs)
{
	int r = 0;

	/* A tap without any queue drops what it gets, and its carrier cannot be set; so queues are added
	 * before others are removed, and one stays. */
	if (!pairs)
		return 0;
	for (unsigned int pass = 0; pass < 2; pass++)
		for (unsigned int i = 0; i < n && !r; i++)
			if ((pairs >> i & 1) != pass)
				r = set_queue(fd[i], !pass);
	return r;
}
