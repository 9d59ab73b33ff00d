/* SPDX-License-Identifier: Apache-2.0 */

#include "net/netdev_monitor.h"

#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

struct netdev_monitor {
	struct mnl_socket *nl;
	sd_event_source *source;
	netdev_changed_fn changed;
	void *ctx;
};

static int handle(const struct nlmsghdr *nlh, void *data)
{
	struct netdev_monitor *m = data;
	const struct ifinfomsg *ifi;
	const struct nlattr *attr;
	const char *name = NULL;

	if ((nlh->nlmsg_type != RTM_NEWLINK && nlh->nlmsg_type != RTM_DELLINK) ||
	    mnl_nlmsg_get_payload_len(nlh) < sizeof(*ifi))
		return MNL_CB_OK;
	ifi = mnl_nlmsg_get_payload(nlh);
	/* Bridges report their ports with a family of their own, and a removed port with DELLINK. */
	if (ifi->ifi_family != AF_UNSPEC)
		return MNL_CB_OK;
	mnl_attr_for_each(attr, nlh, sizeof(*ifi))
	{
		if (mnl_attr_get_type(attr) == IFLA_IFNAME &&
		    mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
			name = mnl_attr_get_str(attr);
	}
	if (name)
		m->changed(m->ctx, name, ifi->ifi_index,
			   (ifi->ifi_flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING),
			   nlh->nlmsg_type == RTM_DELLINK);
	return MNL_CB_OK;
}

/* Reads what has arrived; with `until_seq`, until the answer to that request is complete. */
static int receive(struct netdev_monitor *m, unsigned int until_seq)
{
	char buf[32768];

	for (;;) {
		ssize_t n = mnl_socket_recvfrom(m->nl, buf, sizeof(buf));

		if (n < 0 && errno == ENOBUFS) /* events were lost: ask for everything */
			return -ENOBUFS;
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		/* Events (sequence 0) and answers share the socket, so neither sequence nor port ID is
		 * matched here. */
		if (mnl_cb_run(buf, (size_t)n, 0, 0, handle, m) == MNL_CB_STOP && until_seq)
			return 0;
	}
}

int netdev_monitor_refresh(struct netdev_monitor *m)
{
	static unsigned int seq = 1;
	char buf[256] __attribute__((aligned(8)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi;

	nlh->nlmsg_type = RTM_GETLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = ++seq;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	ifi->ifi_family = AF_UNSPEC;
	if (mnl_socket_sendto(m->nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	/* The kernel produces the dump as it is read: the socket does not run empty before the end. */
	return receive(m, nlh->nlmsg_seq);
}

static int on_readable(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct netdev_monitor *m = userdata;

	(void)source;
	(void)fd;
	(void)revents;
	if (receive(m, 0) == -ENOBUFS)
		netdev_monitor_refresh(m);
	return 0;
}

int netdev_monitor_new(sd_event *event, netdev_changed_fn changed, void *ctx, struct netdev_monitor **ret,
		       struct err *err)
{
	struct netdev_monitor *m = calloc(1, sizeof(*m));
	int r = -ENOMEM;

	if (m) {
		m->changed = changed;
		m->ctx = ctx;
		m->nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
		r = !m->nl || mnl_socket_bind(m->nl, RTMGRP_LINK, MNL_SOCKET_AUTOPID) < 0 ? -errno : 0;
		if (!r)
			r = sd_event_add_io(event, &m->source, mnl_socket_get_fd(m->nl), EPOLLIN, on_readable,
					    m);
	}
	if (r < 0) {
		netdev_monitor_free(m);
		return err_set(err, -r, NULL, "cannot monitor netdevs: %s", strerror(-r));
	}
	*ret = m;
	return 0;
}

void netdev_monitor_free(struct netdev_monitor *m)
{
	if (!m)
		return;
	sd_event_source_disable_unref(m->source);
	if (m->nl)
		mnl_socket_close(m->nl);
	free(m);
}
