/* SPDX-License-Identifier: Apache-2.0 */

#include "datapath/vdpa/vdpa_netlink.h"

#include <linux/genetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define ANSWER_S 60 /* the kernel answers when it is done: VDUSE waits 30 s for a server that is gone */

#ifndef NLMSGERR_ATTR_MSG
#define NLMSGERR_ATTR_MSG 1
#endif

static void put_mgmtdev(struct nlmsghdr *nlh, const char *name)
{
	const char *slash = strchr(name, '/');
	char bus[VDPA_NAME_MAX];

	if (slash) {
		snprintf(bus, sizeof(bus), "%.*s", (int)(slash - name), name);
		mnl_attr_put_strz(nlh, VDPA_ATTR_MGMTDEV_BUS_NAME, bus);
	}
	mnl_attr_put_strz(nlh, VDPA_ATTR_MGMTDEV_DEV_NAME, slash ? slash + 1 : name);
}

void vdpa_new_build(struct nlmsghdr *nlh, const struct vdpa_new *what)
{
	static const uint8_t no_mac[6];

	mnl_attr_put_strz(nlh, VDPA_ATTR_DEV_NAME, what->name);
	put_mgmtdev(nlh, what->mgmtdev);
	if (memcmp(what->mac, no_mac, sizeof(no_mac)) != 0)
		mnl_attr_put(nlh, VDPA_ATTR_DEV_NET_CFG_MACADDR, sizeof(what->mac), what->mac);
	if (what->mtu)
		mnl_attr_put_u16(nlh, VDPA_ATTR_DEV_NET_CFG_MTU, what->mtu);
	if (what->pairs)
		mnl_attr_put_u16(nlh, VDPA_ATTR_DEV_NET_CFG_MAX_VQP, what->pairs);
}

struct attrs {
	const struct nlattr *a[VDPA_ATTR_MAX + 1];
};

static int on_attr(const struct nlattr *attr, void *data)
{
	struct attrs *t = data;
	uint16_t type = mnl_attr_get_type(attr);

	if (type <= VDPA_ATTR_MAX)
		t->a[type] = attr;
	return MNL_CB_OK;
}

/* Attributes that are too short for their type count as absent. */
static uint64_t number(const struct attrs *t, unsigned int type)
{
	const struct nlattr *attr = t->a[type];

	if (!attr)
		return 0;
	switch (mnl_attr_get_payload_len(attr)) {
	case 1:
		return mnl_attr_get_u8(attr);
	case 2:
		return mnl_attr_get_u16(attr);
	case 4:
		return mnl_attr_get_u32(attr);
	case 8:
		return mnl_attr_get_u64(attr);
	default:
		return 0;
	}
}

static const char *text(const struct attrs *t, unsigned int type)
{
	const struct nlattr *attr = t->a[type];

	return attr && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0 ? mnl_attr_get_str(attr) : NULL;
}

static bool mgmtdev_name(const struct attrs *t, char ret[VDPA_NAME_MAX])
{
	const char *bus = text(t, VDPA_ATTR_MGMTDEV_BUS_NAME), *dev = text(t, VDPA_ATTR_MGMTDEV_DEV_NAME);

	if (!dev)
		return false;
	return snprintf(ret, VDPA_NAME_MAX, "%s%s%s", bus ? bus : "", bus ? "/" : "", dev) < VDPA_NAME_MAX;
}

/* Appends to a list whose capacity doubles; NULL: out of memory, or the list is full. */
static void *more(void **array, unsigned int *n, size_t size)
{
	if (*n >= VDPA_LIST_MAX)
		return NULL;
	if ((*n & (*n - 1)) == 0) {
		void *bigger = realloc(*array, (*n ? 2 * (size_t)*n : 1) * size);

		if (!bigger)
			return NULL;
		*array = bigger;
	}
	memset((char *)*array + *n * size, 0, size);
	return (char *)*array + (*n)++ * size;
}

static int add_mgmtdev(const struct attrs *t, struct vdpa_netlink_list *list)
{
	char name[VDPA_NAME_MAX];
	struct vdpa_mgmtdev *m;

	if (!mgmtdev_name(t, name))
		return -EBADMSG;
	m = more((void **)&list->mgmtdev, &list->n_mgmtdev, sizeof(*m));
	if (!m)
		return -ENOMEM;
	memcpy(m->name, name, sizeof(m->name));
	m->classes = number(t, VDPA_ATTR_MGMTDEV_SUPPORTED_CLASSES);
	m->max_vqs = (uint32_t)number(t, VDPA_ATTR_DEV_MGMTDEV_MAX_VQS);
	m->features = number(t, VDPA_ATTR_DEV_SUPPORTED_FEATURES);
	return 0;
}

static int add_dev(const struct attrs *t, struct vdpa_netlink_list *list)
{
	const char *name = text(t, VDPA_ATTR_DEV_NAME);
	struct vdpa_dev *d;

	if (!name || strlen(name) >= VDPA_NAME_MAX)
		return -EBADMSG;
	d = more((void **)&list->dev, &list->n_dev, sizeof(*d));
	if (!d)
		return -ENOMEM;
	snprintf(d->name, sizeof(d->name), "%s", name);
	if (!mgmtdev_name(t, d->mgmtdev))
		d->mgmtdev[0] = '\0';
	d->device_id = (uint32_t)number(t, VDPA_ATTR_DEV_ID);
	d->max_vqs = (uint32_t)number(t, VDPA_ATTR_DEV_MAX_VQS);
	return 0;
}

static int add_config(const struct attrs *t, struct vdpa_netlink_list *list)
{
	const char *name = text(t, VDPA_ATTR_DEV_NAME);

	if (!name)
		return -EBADMSG;
	for (unsigned int i = 0; i < list->n_dev; i++)
		if (strcmp(list->dev[i].name, name) == 0) {
			list->dev[i].features = number(t, VDPA_ATTR_VDPA_DEV_SUPPORTED_FEATURES);
			list->dev[i].max_pairs = (uint16_t)number(t, VDPA_ATTR_DEV_NET_CFG_MAX_VQP);
		}
	return 0;
}

int vdpa_list_parse(const struct nlmsghdr *nlh, struct vdpa_netlink_list *list)
{
	const struct genlmsghdr *genl = mnl_nlmsg_get_payload(nlh);
	struct attrs t = {0};

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*genl) ||
	    mnl_attr_parse(nlh, sizeof(*genl), on_attr, &t) < 0)
		return -EBADMSG;
	switch (genl->cmd) {
	case VDPA_CMD_MGMTDEV_NEW:
		return add_mgmtdev(&t, list);
	case VDPA_CMD_DEV_NEW:
		return add_dev(&t, list);
	case VDPA_CMD_DEV_CONFIG_GET:
		return add_config(&t, list);
	default:
		return 0;
	}
}

void vdpa_list_free(struct vdpa_netlink_list *list)
{
	free(list->mgmtdev);
	free(list->dev);
	*list = (struct vdpa_netlink_list){0};
}

/* -- the socket */

struct session {
	struct mnl_socket *nl;
	uint16_t family;
	unsigned int seq;
	char buf[16384] __attribute__((aligned(8)));
};

static void session_end(struct session *s)
{
	if (s->nl)
		mnl_socket_close(s->nl);
}

static struct nlmsghdr *request(struct session *s, uint16_t family, uint8_t cmd, uint16_t flags)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(s->buf);
	struct genlmsghdr *genl;

	nlh->nlmsg_type = family;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	nlh->nlmsg_seq = ++s->seq;
	genl = mnl_nlmsg_put_extra_header(nlh, sizeof(*genl));
	genl->cmd = cmd;
	genl->version = VDPA_GENL_VERSION;
	return nlh;
}

/* The kernel's message about a failure, if there is one. */
static void kernel_words(const struct nlmsghdr *nlh, char *ret, size_t size)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(nlh);
	size_t skip = sizeof(*e);
	const struct nlattr *attr;

	if (!(nlh->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	if (!(nlh->nlmsg_flags & NLM_F_CAPPED) && e->msg.nlmsg_len >= sizeof(e->msg))
		skip += ((size_t)e->msg.nlmsg_len + 3) / 4 * 4 - sizeof(e->msg);
	if (skip > mnl_nlmsg_get_payload_len(nlh))
		return;
	mnl_attr_for_each(attr, nlh, (unsigned int)skip)
	{
		if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG &&
		    mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
			snprintf(ret, size, "%s", mnl_attr_get_str(attr));
	}
}

/* Sends what request() began; calls each() for every message of the answer. */
static int converse(struct session *s, const struct nlmsghdr *nlh,
		    int (*each)(const struct nlmsghdr *nlh, void *arg), void *arg, char *words, size_t size)
{
	unsigned int seq = nlh->nlmsg_seq;
	int result = 0;

	if (mnl_socket_sendto(s->nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	for (;;) {
		ssize_t got = mnl_socket_recvfrom(s->nl, s->buf, sizeof(s->buf));
		const struct nlmsghdr *h = (const void *)s->buf;
		int left = (int)got;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		for (; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
			if (h->nlmsg_seq != seq)
				continue;
			if (h->nlmsg_type == NLMSG_DONE)
				return result;
			if (h->nlmsg_type == NLMSG_ERROR) {
				const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);

				if (mnl_nlmsg_get_payload_len(h) < sizeof(*e))
					return -EBADMSG;
				if (e->error && words)
					kernel_words(h, words, size);
				return e->error ? e->error : result;
			}
			if (each && result == 0)
				result = each(h, arg);
		}
	}
}

static int on_family(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *attr;

	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr))
	{
		if (mnl_attr_get_type(attr) == CTRL_ATTR_FAMILY_ID &&
		    mnl_attr_validate(attr, MNL_TYPE_U16) >= 0)
			*(uint16_t *)arg = mnl_attr_get_u16(attr);
	}
	return 0;
}

static int session_begin(struct session *s)
{
	struct timeval limit = {.tv_sec = ANSWER_S};
	struct nlmsghdr *nlh;
	int on = 1, r;

	s->family = 0;
	s->seq = (unsigned int)time(NULL);
	s->nl = mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC);
	if (!s->nl || mnl_socket_bind(s->nl, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    setsockopt(mnl_socket_get_fd(s->nl), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0)
		return -errno;
	mnl_socket_setsockopt(s->nl, NETLINK_EXT_ACK, &on, sizeof(on)); /* a message is optional */
	nlh = request(s, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, NLM_F_ACK);
	mnl_attr_put_strz(nlh, CTRL_ATTR_FAMILY_NAME, VDPA_GENL_NAME);
	r = converse(s, nlh, on_family, &s->family, NULL, 0);
	return r < 0 ? r : s->family ? 0 : -ENOENT;
}

static int on_list(const struct nlmsghdr *nlh, void *arg)
{
	int r = vdpa_list_parse(nlh, arg);

	return r == -ENOMEM ? r : 0; /* one without useful contents is skipped */
}

int vdpa_list(struct vdpa_netlink_list *ret)
{
	static const uint8_t dumps[] = {VDPA_CMD_MGMTDEV_GET, VDPA_CMD_DEV_GET, VDPA_CMD_DEV_CONFIG_GET};
	struct vdpa_netlink_list list = {0};
	struct session s = {0};
	int r = session_begin(&s);

	for (unsigned int i = 0; r >= 0 && i < ARRAY_SIZE(dumps); i++) {
		r = converse(&s, request(&s, s.family, dumps[i], NLM_F_DUMP), on_list, &list, NULL, 0);
		/* A device that has no configuration to show ends that dump; the list itself is there. */
		if (r < 0 && dumps[i] == VDPA_CMD_DEV_CONFIG_GET)
			r = 0;
	}
	session_end(&s);
	if (r < 0) {
		vdpa_list_free(&list);
		return r;
	}
	*ret = list;
	return 0;
}

int vdpa_dev_new(const struct vdpa_new *what, struct err *err)
{
	char words[160] = "";
	struct session s = {0};
	int r = session_begin(&s);

	if (r >= 0) {
		struct nlmsghdr *nlh = request(&s, s.family, VDPA_CMD_DEV_NEW, NLM_F_ACK);

		vdpa_new_build(nlh, what);
		r = converse(&s, nlh, NULL, NULL, words, sizeof(words));
	}
	session_end(&s);
	if (r < 0)
		return err_set(err, -r, NULL, "cannot create vDPA device %s on %s: %s", what->name,
			       what->mgmtdev, *words ? words : strerror(-r));
	return 0;
}

int vdpa_dev_del(const char *name, struct err *err)
{
	char words[160] = "";
	struct session s = {0};
	int r = session_begin(&s);

	if (r >= 0) {
		struct nlmsghdr *nlh = request(&s, s.family, VDPA_CMD_DEV_DEL, NLM_F_ACK);

		mnl_attr_put_strz(nlh, VDPA_ATTR_DEV_NAME, name);
		r = converse(&s, nlh, NULL, NULL, words, sizeof(words));
	}
	session_end(&s);
	if (r < 0)
		return err_set(err, -r, NULL, "cannot delete vDPA device %s: %s", name,
			       *words ? words : strerror(-r));
	return 0;
}
