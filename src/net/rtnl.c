/* SPDX-License-Identifier: Apache-2.0 */

#include "net/rtnl.h"

#include <linux/netlink.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define TIMEOUT_S 1

struct rtnl {
	struct mnl_socket *sock;
	uint32_t seq;
	char words[128];
	char request[RTNL_ROOM] __attribute__((aligned(8)));
	char answer[32768] __attribute__((aligned(8)));
};

struct talk {
	struct rtnl *nl;
	void (*each)(void *arg, const struct nlmsghdr *nlh);
	void *arg;
};

int rtnl_new(int family, struct rtnl **ret)
{
	const struct timeval timeout = {.tv_sec = TIMEOUT_S};
	struct rtnl *nl = calloc(1, sizeof(*nl));
	int one = 1, r;

	if (!nl)
		return -ENOMEM;
	nl->sock = mnl_socket_open2(family, SOCK_CLOEXEC);
	if (!nl->sock || mnl_socket_bind(nl->sock, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    setsockopt(mnl_socket_get_fd(nl->sock), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0) {
		r = -errno;
		rtnl_free(nl);
		return r;
	}
	/* Kernels older than those that vpf supports report only a number. */
	(void)mnl_socket_setsockopt(nl->sock, NETLINK_EXT_ACK, &one, sizeof(one));
	(void)mnl_socket_setsockopt(nl->sock, NETLINK_CAP_ACK, &one, sizeof(one));
	*ret = nl;
	return 0;
}

void rtnl_free(struct rtnl *nl)
{
	if (!nl)
		return;
	if (nl->sock)
		mnl_socket_close(nl->sock);
	free(nl);
}

struct nlmsghdr *rtnl_request(struct rtnl *nl, uint16_t type, uint16_t flags, size_t extra, void **ret_extra)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(nl->request);

	nlh->nlmsg_type = type;
	/* A dump needs no acknowledgement. NLM_F_EXCL and NLM_F_REPLACE are the same bits with another meaning. */
	nlh->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	if ((flags & NLM_F_DUMP) != NLM_F_DUMP)
		nlh->nlmsg_flags |= NLM_F_ACK;
	nlh->nlmsg_seq = ++nl->seq;
	*ret_extra = mnl_nlmsg_put_extra_header(nlh, extra);
	memset(*ret_extra, 0, extra);
	return nlh;
}

static int on_message(const struct nlmsghdr *nlh, void *data)
{
	struct talk *t = data;

	if (t->each)
		t->each(t->arg, nlh);
	return MNL_CB_OK;
}

/* An acknowledgement: struct nlmsgerr, followed by attributes (NETLINK_CAP_ACK: of the request only its
 * header). */
static int on_error(const struct nlmsghdr *nlh, void *data)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attr;
	struct talk *t = data;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*e)) {
		errno = EBADMSG;
		return MNL_CB_ERROR;
	}
	if (nlh->nlmsg_flags & NLM_F_ACK_TLVS) {
		size_t offset = sizeof(*e);

		if (!(nlh->nlmsg_flags & NLM_F_CAPPED) && e->msg.nlmsg_len >= sizeof(e->msg))
			offset += e->msg.nlmsg_len - sizeof(e->msg);
		mnl_attr_for_each(attr, nlh, offset)
		{
			if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG &&
			    mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
				snprintf(t->nl->words, sizeof(t->nl->words), "%s", mnl_attr_get_str(attr));
		}
	}
	if (e->error) {
		errno = -e->error;
		return MNL_CB_ERROR;
	}
	return MNL_CB_STOP;
}

/* The end of a dump. libmnl's own handler is not called when the table covers this type. */
static int on_end(const struct nlmsghdr *nlh, void *data)
{
	(void)nlh;
	(void)data;
	return MNL_CB_STOP;
}

int rtnl_talk(struct rtnl *nl, struct nlmsghdr *nlh, void (*each)(void *arg, const struct nlmsghdr *nlh),
	      void *arg)
{
	static mnl_cb_t control[NLMSG_MIN_TYPE] = {[NLMSG_ERROR] = on_error, [NLMSG_DONE] = on_end};
	unsigned int port = mnl_socket_get_portid(nl->sock);
	struct talk t = {nl, each, arg};
	uint32_t seq = nlh->nlmsg_seq;

	nl->words[0] = 0;
	if (mnl_socket_sendto(nl->sock, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	for (;;) {
		ssize_t n = mnl_socket_recvfrom(nl->sock, nl->answer, sizeof(nl->answer));
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		/* A late answer to a request that was given up. */
		if ((size_t)n >= sizeof(*nlh) &&
		    ((const struct nlmsghdr *)(void *)nl->answer)->nlmsg_seq != seq)
			continue;
		r = mnl_cb_run2(nl->answer, (size_t)n, seq, port, on_message, &t, control,
				ARRAY_SIZE(control));
		if (r < 0)
			return -errno;
		if (r == MNL_CB_STOP)
			return 0;
	}
}

int rtnl_err(const struct rtnl *nl, int r, struct err *err, const char *fmt, ...)
{
	char what[160];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	if (nl->words[0])
		return err_set(err, -r, NULL, "cannot %s: %s (%s)", what, strerror(-r), nl->words);
	return err_set(err, -r, NULL, "cannot %s: %s", what, strerror(-r));
}
