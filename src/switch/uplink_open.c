/* SPDX-License-Identifier: Apache-2.0 */

#include "switch/uplink_open.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif
#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

#define UPLINK_SNDBUF (4 << 20) /* bytes that a worker may have queued in a netdev */

static int fail(struct err *err, int code, const char *name, const char *what)
{
	switch (code) {
	case EPERM:
	case EACCES:
		return err_set(err, EPERM, "uplink.name",
			       "%s %s: permission denied; vpfd needs CAP_NET_ADMIN and CAP_NET_RAW", what,
			       name);
	case ENODEV:
	case ENXIO:
		return err_set(err, ENODEV, "uplink.name",
			       "there is no netdev %s; create it first, or use a tap", name);
	case EBUSY:
		return err_set(err, EBUSY, "uplink.name", "%s is in use by another program", name);
	default:
		return err_set(err, code, "uplink.name", "%s %s: %s", what, name, strerror(code));
	}
}

static int set_tap_up(const char *name)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {0};

	if (fd < 0)
		return -errno;
	memcpy(ifr.ifr_name, name, IFNAMSIZ);
	if (ioctl(fd, SIOCGIFFLAGS, &ifr) < 0)
		return -errno;
	ifr.ifr_flags |= IFF_UP;
	return ioctl(fd, SIOCSIFFLAGS, &ifr) < 0 ? -errno : 0;
}

static int open_tap(struct uplink *up, bool multi, int *ret_fd, struct err *err)
{
	_cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	unsigned int offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	int hdr_len = (int)uplink_hdr_len(up);
	struct ifreq ifr = {0};

	if (fd < 0)
		return fail(err, errno, up->name, "opening /dev/net/tun for tap");
	memcpy(ifr.ifr_name, up->name, IFNAMSIZ);
	ifr.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (multi ? IFF_MULTI_QUEUE : 0));
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		return fail(err, errno, up->name, "creating tap");
	if (ioctl(fd, TUNSETVNETHDRSZ, &hdr_len) < 0)
		return fail(err, errno, up->name, "setting up tap");
	up->uso = ioctl(fd, TUNSETOFFLOAD, offloads | TUN_F_USO4 | TUN_F_USO6) == 0;
	if (!up->uso && ioctl(fd, TUNSETOFFLOAD, offloads) < 0)
		return fail(err, errno, up->name, "setting up tap");
	*ret_fd = steal_fd(&fd);
	return 0;
}

static int open_packet(struct uplink *up, bool fanout, int *ret_fd, struct err *err)
{
	/* Protocol 0: nothing is received before the socket is bound and set up. */
	_cleanup_close_ int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_ll addr = {
		.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = up->ifindex};
	struct packet_mreq promisc = {.mr_ifindex = up->ifindex, .mr_type = PACKET_MR_PROMISC};
	int one = 1, sndbuf = UPLINK_SNDBUF;

	if (fd < 0)
		return fail(err, errno, up->name, "opening a packet socket for");
	if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) < 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one)) < 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) < 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promisc, sizeof(promisc)) < 0)
		return fail(err, errno, up->name, "setting up a packet socket for");
	/* A bigger buffer needs CAP_NET_ADMIN; the default works, with more drops. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &sndbuf, sizeof(sndbuf)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf));
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &sndbuf, sizeof(sndbuf)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &sndbuf, sizeof(sndbuf));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return fail(err, errno, up->name, "binding a packet socket to");
	if (fanout) {
		/* A flow stays with one worker. The group's id is the netdev's index: unique in this
		 * namespace, and one vpfd per netdev. */
		int arg = (up->ifindex & 0xffff) | PACKET_FANOUT_HASH << 16;

		if (setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &arg, sizeof(arg)) < 0)
			return fail(err, errno, up->name, "spreading packets over the workers from");
	}
	*ret_fd = steal_fd(&fd);
	return 0;
}

int uplink_open(const struct fabric_settings *s, unsigned int workers, struct uplink **ret, struct err *err)
{
	struct uplink *up = calloc(1, sizeof(*up) + workers * sizeof(up->queue[0]));
	int r = 0;

	if (!up)
		return err_set(err, ENOMEM, NULL, "not enough memory for the uplink");
	up->type = s->uplink;
	up->n = workers;
	memcpy(up->name, s->uplink_name, sizeof(up->name));
	for (unsigned int i = 0; i < workers; i++) {
		up->queue[i].source.kind = POLL_UPLINK;
		up->queue[i].uplink = up;
		up->queue[i].fd = -1;
	}
	if (up->type == UPLINK_NETDEV) {
		up->ifindex = (int)if_nametoindex(up->name);
		if (!up->ifindex)
			r = fail(err, ENODEV, up->name, "");
	} else if (if_nametoindex(up->name)) {
		/* Do not take over a foreign persistent tap, nor fail half-way on a netdev of another
		 * kind. */
		r = err_set(err, EEXIST, "uplink.name",
			    "netdev %s exists already; choose another name for the tap", up->name);
	}
	for (unsigned int i = 0; i < workers && !r; i++)
		r = up->type == UPLINK_TAP ? open_tap(up, workers > 1, &up->queue[i].fd, err)
					   : open_packet(up, workers > 1, &up->queue[i].fd, err);
	if (!r && up->type == UPLINK_TAP) {
		up->ifindex = (int)if_nametoindex(up->name);
		r = set_tap_up(up->name);
		if (r < 0)
			r = fail(err, -r, up->name, "bringing up tap");
	}
	if (r < 0) {
		uplink_close(up);
		return r;
	}
	*ret = up;
	return 0;
}
