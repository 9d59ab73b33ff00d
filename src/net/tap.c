/* SPDX-License-Identifier: Apache-2.0 */

#include "net/tap.h"

#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

/* Creates the netdev with its first queue, or adds a queue. */
static int attach_queue(int fd, const char *name, bool first)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE};
	int len = TAP_HEADER_LEN, little = 1;

	memcpy(ifr.ifr_name, name, sizeof(ifr.ifr_name));
	if (first)
		ifr.ifr_flags = (short)(ifr.ifr_flags | IFF_TUN_EXCL);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &len) < 0 ||
	    ioctl(fd, TUNSETVNETLE, &little) < 0)
		return -errno;
	ifr.ifr_flags = IFF_DETACH_QUEUE;
	return ioctl(fd, TUNSETQUEUE, &ifr) < 0 ? -errno : 0;
}

int tap_new(const char *name, unsigned int n, struct tap **ret, struct err *err)
{
	struct tap *t = calloc(1, sizeof(*t));

	if (!t)
		return err_set(err, ENOMEM, NULL, "not enough memory for a tap");
	snprintf(t->name, sizeof(t->name), "%s", name);
	for (unsigned int i = 0; i < n; i++) {
		int r;

		t->fd[i] = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
		r = t->fd[i] < 0 ? -errno : 0;
		if (!r) {
			t->n++;
			r = attach_queue(t->fd[i], t->name, i == 0);
		}
		if (r < 0) {
			tap_free(t);
			return err_set(err, -r, NULL, "cannot create the tap %s: %s", name, strerror(-r));
		}
	}
	t->ifindex = (int)if_nametoindex(t->name);
	if (!t->ifindex) { /* it was renamed or deleted in the meantime */
		tap_free(t);
		return err_set(err, ENODEV, NULL, "the tap %s is gone", name);
	}
	*ret = t;
	return 0;
}

int tap_remake(struct tap *t, const char *name)
{
	snprintf(t->name, sizeof(t->name), "%s", name);
	for (unsigned int i = 0; i < t->n; i++) {
		int r = attach_queue(t->fd[i], t->name, i == 0);

		/* The kernel's errors for a queue that is still attached to its netdev, in use or not. */
		if (r == -EEXIST || (r == -EINVAL && i == 0))
			return -EEXIST;
		if (r < 0)
			return r;
	}
	t->ifindex = (int)if_nametoindex(t->name);
	return t->ifindex ? 0 : -ENODEV;
}

void tap_free(struct tap *t)
{
	if (!t)
		return;
	while (t->n)
		close(t->fd[--t->n]);
	free(t);
}
