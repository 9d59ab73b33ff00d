/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VPF_H
#define VPF_H

/* Driver of the virtual PFs of vpfd.
 *
 * A virtual PF is a virtio-net device whose PCI function has an SR-IOV capability, and at whose
 * other end vpfd answers a HELLO. Its stock netdev becomes the *conduit*: control frames and the
 * PF's own traffic pass through it, and the *PF netdev*, which people and tools use, is registered
 * above it with the PF's PCI device as its parent.
 *
 *   struct vpf_pf      one for each candidate, from its netdev's registration to its end (pf.c)
 *     .ch              the control channel on it: session, requests (channel.c, request.c)
 *     .fn[]            what vpfd said of the functions: 0 the PF, n + 1 VF n (vf.c)
 *     .netdev          the PF netdev, once vpfd has answered (netdev.c)
 *   struct vf_netdev   a stock netdev of a VF, whoever's it is (vf_netdev.c)
 *
 * Locking
 *   RTNL  the lists vpf_pfs and vf_netdevs, pf->netdev, pf->dead, pf->kept, all that netdevs do.
 *   pf->lock  spinlock, BH: pf->ch but for its work items and request_lock; pf->fn[] but for ports;
 *         pf->counters; pf->carrier_netdev. Taken last. Frames are received under it; nothing is
 *         sent under it.
 *   ch->request_lock  mutex: one request at a time. Taken under RTNL or a devlink instance's lock,
 *         or neither; its holder takes neither, and waits, three seconds at most, for what arrives
 *         in softirqs and in work items of vpf_wq. So neither of these ever takes RTNL.
 *   pf->port_lock  mutex: pf->devlink and its VF ports. Taken under the device lock of the PF's PCI
 *         device (VFs come and go) or nothing; a devlink instance's lock may be taken under it, and
 *         RTNL under that.
 *   vpf_rtnl_wq  is ordered and its work takes RTNL: take-over, administrative MACs, and the last
 *         steps of a PF that has gone, where devlink's lock is needed, which comes before RTNL.
 */

#include <linux/etherdevice.h>
#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/netdevice.h>
#include <linux/pci.h>
#include <linux/ratelimit.h>
#include <linux/rtnetlink.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <net/devlink.h>

#include "codec.h"
#include "compat.h"

#define VPF_NAME "vpf"

#define VPF_MAX_KEYS 8

struct vpf_pf;

struct vpf_counters {
	u64 requests, retries, timeouts, refused;
	u64 replies, events, resets, sessions, hellos;
	u64 send_failed;
	u64 bad[VPF_BAD_CAUSES];
};

/* What a request asks, and what it got. */
struct vpf_request {
	u8 type; /* VPF_CTL_GET, _SET or _STATS */
	u16 first, count; /* GET, STATS */
	struct vpf_set set; /* SET */
	/* reply */
	u16 status;
	u16 ret_first, ret_count;
	char text[VPF_TEXT_LEN + 1];
};

enum vpf_session_state {
	VPF_SESSION_NONE, /* HELLO is being said */
	VPF_SESSION_UP,
	VPF_SESSION_CLOSED, /* for ever */
};

struct vpf_channel {
	struct packet_type ptype;
	u8 rx[VPF_CTL_MAX]; /* copy of the frame that is being looked at */

	enum vpf_session_state state;
	u64 id;
	unsigned int epoch; /* grows whenever a session comes or goes */
	unsigned long lost_at; /* jiffies: vpfd has not been heard since */
	u32 sequence;
	u32 last_event;
	bool any_event;
	unsigned int events_applied;
	struct vpf_hello_reply hello;

	u64 nonce;
	bool nonce_valid;
	unsigned long hello_at; /* jiffies of the last one sent */
	unsigned int tries;
	unsigned int key; /* index into vpf_keys */
	bool key_known; /* vpfd answered with it */
	bool version_told; /* a log line said that there is no version in common */

	struct mutex request_lock;
	wait_queue_head_t wait;
	struct vpf_request *pending; /* the request that waits for its reply */
	bool answered;
	struct delayed_work hello_work; /* on vpf_wq */
	struct work_struct sync_work; /* on vpf_wq */
};

struct vpf_fn {
	struct vpf_function rec;
	struct vpf_stats stats;
	bool known;
	bool mac_dirty; /* the VF's netdev may need another MAC */
	u8 applied_mac[ETH_ALEN]; /* RTNL: the administrative MAC that its netdev was given */
	u8 withdrawn_mac[ETH_ALEN]; /* RTNL: the one before, if there is none now */
	struct devlink_port port; /* pf->port_lock */
	bool port_registered;
};

/* How the conduit was before. */
struct vpf_kept {
	bool probed; /* the rest is valid */
	bool up;
	bool addrconf; /* what vpf_compat_no_addrconf() returned */
	bool addrconf_off;
	bool claimed; /* those below are valid */
	u8 mac[ETH_ALEN];
	int mtu;
	netdev_features_t wanted;
};

/* Jobs for vpf_rtnl_wq. */
enum {
	VPF_JOB_OPEN, /* bring the conduit up, to say HELLO */
	VPF_JOB_GIVE_UP, /* put it down again: nobody answered */
	VPF_JOB_TAKE,
	VPF_JOB_MACS,
};

struct vpf_pf {
	struct list_head list;
	struct kref ref;
	struct net_device *conduit; /* held */
	struct pci_dev *pdev; /* held */
	struct net_device *netdev;
	bool dead;
	bool busy_told; /* a log line said that somebody else uses the conduit */
	struct vpf_kept kept;
	bool setting_mac, setting_mtu,
		setting_features; /* on the conduit, by the PF netdev itself */

	spinlock_t lock;
	struct net_device *carrier_netdev; /* pf->netdev, for those under the lock */
	struct vpf_channel ch;
	struct vpf_counters counters;

	unsigned long jobs;
	struct work_struct rtnl_work; /* on vpf_rtnl_wq */
	struct work_struct free_work; /* on vpf_rtnl_wq */

	struct ratelimit_state refusals;
	unsigned long stats_until; /* RTNL; jiffies: VFs' statistics are not asked for before */
	bool stats_asked; /* RTNL; stats_until is valid */

	struct mutex port_lock;
	struct devlink *devlink;
	struct devlink_port port;
	struct net_device *port_netdev; /* vpf_rtnl_wq: what vpf_compat_port_hold() returned */

	unsigned int vfs; /* that the PCI function can have */
	struct vpf_fn fn[]; /* vfs + 1 */
};

struct vpf_netdev_priv {
	struct vpf_pf *pf;
	struct net_device *conduit;
};

static inline struct vpf_pf *vpf_netdev_pf(const struct net_device *dev)
{
	return ((struct vpf_netdev_priv *)netdev_priv(dev))->pf;
}

/* main.c */
extern struct workqueue_struct *vpf_wq, *vpf_rtnl_wq;

/* key.c: of the VM, from SMBIOS. Read once, at load. */
extern struct vpf_key vpf_keys[VPF_MAX_KEYS];
extern unsigned int vpf_keys_n;
void vpf_keys_read(void);

/* pf.c */
extern struct list_head vpf_pfs;
struct vpf_pf *vpf_pf_of_conduit(const struct net_device *dev);
struct vpf_pf *vpf_pf_of_pdev(const struct pci_dev *pdev);
void vpf_pf_add(struct net_device *conduit, struct pci_dev *pdev);
void vpf_pf_remove(struct vpf_pf *pf, bool conduit_goes);
void vpf_pf_conduit_event(struct vpf_pf *pf, unsigned long event, void *info);
void vpf_pf_job(struct vpf_pf *pf, int job);
void vpf_pf_put(struct vpf_pf *pf);
void vpf_pf_carrier(struct vpf_pf *pf);
void vpf_pf_carrier_locked(struct vpf_pf *pf);
/* Ends the PFs of @pdev, or all if it is NULL, and waits until nothing of them is left. */
void vpf_pf_remove_wait(struct pci_dev *pdev);

/* channel.c */
void vpf_channel_init(struct vpf_pf *pf);
void vpf_channel_open(struct vpf_pf *pf);
void vpf_channel_close(struct vpf_pf *pf, bool bye);
void vpf_channel_free(struct vpf_pf *pf);
void vpf_channel_kick(struct vpf_pf *pf);
void vpf_channel_lost(struct vpf_pf *pf, unsigned long since);
bool vpf_channel_usable(const struct vpf_pf *pf);
int vpf_channel_send(struct vpf_pf *pf, const u8 *message, size_t len, gfp_t gfp);
void vpf_channel_session_gone(struct vpf_pf *pf, unsigned long since);

/* channel_rx.c */
int vpf_channel_rcv(struct sk_buff *skb, struct net_device *dev, struct packet_type *ptype,
		    struct net_device *orig_dev);

/* request.c */
int vpf_request(struct vpf_pf *pf, struct vpf_request *request, unsigned int timeout_ms);
int vpf_request_sync(struct vpf_pf *pf);
int vpf_request_stats(struct vpf_pf *pf, unsigned int vfs);
int vpf_status_errno(u16 status);

/* conduit.c */
rx_handler_result_t vpf_conduit_rx(struct sk_buff **pskb);
void vpf_conduit_probe(struct vpf_pf *pf);
void vpf_conduit_probe_end(struct vpf_pf *pf);
int vpf_conduit_claim(struct vpf_pf *pf);
void vpf_conduit_release(struct vpf_pf *pf, bool conduit_goes);
bool vpf_conduit_busy(const struct vpf_pf *pf);
void vpf_conduit_mac_changed(struct vpf_pf *pf);
void vpf_conduit_mtu_changed(struct vpf_pf *pf);
void vpf_conduit_features_changed(struct vpf_pf *pf);

/* features.c */
void vpf_features_init(struct net_device *dev, const struct net_device *conduit);
netdev_features_t vpf_fix_features(struct net_device *dev, netdev_features_t features);
int vpf_set_features(struct net_device *dev, netdev_features_t features);
void vpf_features_follow(struct net_device *dev);

/* netdev.c */
struct net_device *vpf_netdev_alloc(struct vpf_pf *pf);
int vpf_netdev_register(struct net_device *dev);
void vpf_netdevs_wait_gone(void);

/* vf.c */
int vpf_vf_index(const struct pci_dev *vf);
void vpf_fn_record(struct vpf_pf *pf, const struct vpf_function *rec);
void vpf_fn_stats(struct vpf_pf *pf, const struct vpf_stats *stats);
int vpf_vf_set_mac(struct vpf_pf *pf, int vf, const u8 *mac);
int vpf_ndo_set_vf_mac(struct net_device *dev, int vf, u8 *mac);
int vpf_ndo_set_vf_vlan(struct net_device *dev, int vf, u16 vid, u8 pcp, __be16 proto);
int vpf_ndo_set_vf_rate(struct net_device *dev, int vf, int min_rate, int max_rate);
int vpf_ndo_set_vf_spoofchk(struct net_device *dev, int vf, bool on);
int vpf_ndo_set_vf_trust(struct net_device *dev, int vf, bool on);
int vpf_ndo_set_vf_link_state(struct net_device *dev, int vf, int state);
int vpf_ndo_get_vf_config(struct net_device *dev, int vf, struct ifla_vf_info *info);
int vpf_ndo_get_vf_stats(struct net_device *dev, int vf, struct ifla_vf_stats *stats);

/* vf_netdev.c */
void vpf_vf_netdev_add(struct net_device *dev, struct pci_dev *pdev);
void vpf_vf_netdev_del(struct net_device *dev);
void vpf_vf_netdevs_link(struct vpf_pf *pf);
void vpf_vf_netdevs_unlink(struct vpf_pf *pf);
void vpf_vf_netdevs_forget(void);
void vpf_vf_netdevs_macs(struct vpf_pf *pf);

/* devlink.c */
int vpf_devlink_register(struct vpf_pf *pf);
void vpf_devlink_unregister(struct vpf_pf *pf);
void vpf_devlink_vf_add(struct vpf_pf *pf, struct pci_dev *vf);
void vpf_devlink_vf_del(struct vpf_pf *pf, struct pci_dev *vf);

/* ethtool.c */
extern const struct ethtool_ops vpf_ethtool_ops;

#endif
