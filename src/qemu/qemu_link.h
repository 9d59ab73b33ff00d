/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The link between a virtual PF and its VM's QEMU: the carrier of its functions, what their drivers asked to
 * receive, plugging the whole PF into the running VM and out of it.
 *
 * Theory of operation. QEMU keeps the config space and the control virtqueue of a vhost-user NIC to itself;
 * QMP reports what happens there. The functions are found by the ids of qemu/qemu_args.h, so the PF must have
 * been started from `qemu_args()` or attached. NICs exist in QEMU from the moment their PF does, whether or
 * not the guest has enabled its VFs.
 *
 * rx-filter: NIC_RX_FILTER_CHANGED comes once, and not again before the next query-rx-filter; so each event
 * leads to a query, and on connecting every function is queried. A guest that keeps changing its filters
 * costs at most QEMU_LINK_QUERIES_PER_S queries a second, after a burst that is large enough for 255 VFs to
 * start at once.
 *
 * carrier: set_link is sent for each function when QMP connects, when the carrier changes, and when QEMU's
 * netdev has (re)connected to its vhost-user socket (NETDEV_VHOST_USER_CONNECTED), since QEMU then sets it up
 * on its own. Note: QEMU stops the rings of a function whose link is down; so "its rings are stopped" must
 * never be a reason for setting its carrier down.
 *
 * announcing: announce-self for one NIC. QEMU sets VIRTIO_NET_S_ANNOUNCE in its status, a driver with
 * VIRTIO_NET_F_GUEST_ANNOUNCE then sends gratuitous ARP and neighbour advertisements (virtio 1.3 §5.1.6.5.4);
 * for others it has no effect. A guest that is stopped, or not there yet (migration), is asked once it runs.
 *
 * attach and detach: a sequence of QMP commands, one at a time; one operation at a time per PF. A failing
 * attach undoes what it has done. Whether a detach happens is up to the guest, which gets
 * QEMU_LINK_RELEASE_MS; if it releases the PF later, the rest is cleaned up then.
 *
 * Thread-safety: main thread. Callbacks come from the event loop, except `done` from qemu_link_free(). A
 * callback may call anything here but qemu_link_free(). */

#include "qemu/qemu_args.h"
#include "qemu/qmp.h"
#include "settings/rx_filter.h"

#define QEMU_LINK_QUERIES_PER_S 100
#define QEMU_LINK_QUERIES_BURST 1024
#define QEMU_LINK_RELEASE_MS    30000 /* Linux waits 5 s between the request and the removal */
#define QEMU_LINK_RELEASE_VF_MS 500   /* more for each VF: Linux removes them one by one */

struct qemu_link;

struct qemu_link_ops {
	/* The QMP connection came up, or was lost or could not be made for the reason `why`. For log, status
	 * and event "qmp"; not repeated while nothing changes. */
	void (*connected)(void *ctx, bool connected, const char *why);
	/* What the driver of function `fn` asks for has changed; known == false: its VM or NIC is gone. */
	void (*filter)(void *ctx, unsigned int fn, const struct rx_filter *filter);
	/* The PF's device appeared in the VM or disappeared: attached, detached, or found on connecting. */
	void (*present)(void *ctx, bool present);
	/* qemu_link_announce() failed. May be NULL. */
	void (*announce_failed)(void *ctx, unsigned int fn, const char *why);
};

struct qemu_link_config {
	struct qmp_pool *pool;
	const struct pf_settings *pf;    /* copied; name, vfs, queue_pairs, mtu and qmp are used */
	const struct qemu_link_ops *ops; /* borrowed */
	void *ctx;
	unsigned int release_ms; /* 0: as above; for tests */
};

/* pf->qmp must not be empty. -EINVAL (field "qmp"), -ENOMEM. */
int qemu_link_new(const struct qemu_link_config *config, struct qemu_link **ret, struct err *err);
/* A running attach or detach is abandoned where it is: its done() gets -ECANCELED (and must not touch the
 * link). Takes NULL. */
void qemu_link_free(struct qemu_link *link);

bool qemu_link_connected(const struct qemu_link *link);
bool qemu_link_present(const struct qemu_link *link); /* the VM has the PF's device, as far as is known */

/* What the guest should see. Remembered, and applied whenever a QEMU is connected. */
void qemu_link_set_carrier(struct qemu_link *link, unsigned int fn, bool up);

/* Function `fn` was started by its driver (dataplane_events.function_started): asks for its rx-filter and
 * applies its carrier. Needed since a driver's reset puts QEMU's filter back to its defaults without an
 * event. */
void qemu_link_refresh(struct qemu_link *link, unsigned int fn);

/* Has the driver of function `fn` announce it, so that the network learns where it is. No effect without QMP,
 * or while the VM has no such NIC. */
void qemu_link_announce(struct qemu_link *link, unsigned int fn);

/* Used by later attaches (host_mtu). */
void qemu_link_set_mtu(struct qemu_link *link, uint16_t mtu);

/* code 0, or negative errno and err filled. With code 0 err may be a remark to show (err->text), else it is
 * NULL. Called exactly once for each operation that was started. */
typedef void (*qemu_link_done_fn)(void *arg, int code, const struct err *err);

struct qemu_attach {
	const struct qemu_function *functions; /* vfs + 1; copied */
	const char *bus; /* id of an empty pcie-root-port; NULL: the first one found; copied */
	const struct qemu_args_options *options; /* packed and queue sizes; NULL: defaults; copied */
};
/* Plugs the PF in. Returned or passed to done(): -ENOTCONN no QMP connection, -EBUSY another operation is
 * running, -EEXIST it is already in the VM, -ENODEV no such port or none free, -EREMOTEIO QEMU refused,
 * -ENOMEM. QEMU connects to the vhost-user sockets while this runs: the sockets must be served by then. */
int qemu_link_attach(struct qemu_link *link, const struct qemu_attach *attach, qemu_link_done_fn done,
		     void *arg, struct err *err);
/* Unplugs it. As above, and: -ENOENT it is not in the VM, -ETIMEDOUT the guest did not release it. */
int qemu_link_detach(struct qemu_link *link, qemu_link_done_fn done, void *arg, struct err *err);
