/* SPDX-License-Identifier: Apache-2.0 */

#include "fabric/tap.h"

#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#define HEADER_LEN 12 /* struct virtio_net_hdr_mrg_rxbuf */

static int open_queue(struct ifreq *ifr, bool first)
{
	_cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	int len = HEADER_LEN, little = 1;

	if (fd < 0)
		return -errno;
	ifr->ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE);
	if (first)
		ifr->ifr_flags = (short)(ifr->ifr_flags | IFF_TUN_EXCL);
	if (ioctl(fd, TUNSETIFF, ifr) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &len) < 0 ||
	    ioctl(fd, TUNSETVNETLE, &little) < 0)
		return -errno;
	ifr->ifr_flags = IFF_DETACH_QUEUE;
	if (ioctl(fd, TUNSETQUEUE, ifr) < 0)
		return -errno;
	return steal_fd(&fd);
}

int tap_new(const char *name, unsigned int n, struct tap **ret, struct err *err)
{
	struct tap *t = calloc(1, sizeof(*t));
	struct ifreq ifr = {0};

	if (!t)
		return err_set(err, ENOMEM, NULL, "not enough memory for a tap");
	snprintf(t->name, sizeof(t->name), "%s", name);
	memcpy(ifr.ifr_name, t->name, sizeof(ifr.ifr_name));
	for (unsigned int i = 0; i < n; i++) {
		int fd = open_queue(&ifr, i == 0);

		if (fd < 0) {
			tap_free(t);
			return err_set(err, -fd, NULL, "cannot make the tap %s: %s", name, strerror(-fd));
		}
		t->fd[t->n++] = fd;
	}
	t->ifindex = (int)if_nametoindex(t->name);
	if (!t->ifindex) { /* somebody was very quick to rename or delete it */
		tap_free(t);
		return err_set(err, ENODEV, NULL, "the tap %s is gone", name);
	}
	*ret = t;
	return 0;
}

void tap_free(struct tap *t)
{
	if (!t)
		return;
	while (t->n)
		close(t->fd[--t->n]);
	free(t);
}
