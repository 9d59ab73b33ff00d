// SPDX-License-Identifier: GPL-2.0-only
/* The control channel on one PF: its life, its sessions, how frames are sent.
 *
 * NONE   HELLO is sent after 100 ms, 200 ms, ... 3.2 s, then every 30 s; at once when the carrier
 *        comes up or vpfd sends RESET. A reply with our nonce leads to UP.
 * UP     Requests can be made, events arrive. It ends when a request gets no answer, when vpfd sends
 *        RESET, or when the conduit loses its carrier.
 * CLOSED The PF is going away.
 */
#include <linux/if_ether.h>
#include <linux/jiffies.h>
#include <linux/lockdep.h>
#include <linux/netdevice.h>
#include <linux/pkt_sched.h>
#include <linux/random.h>
#include <linux/rtnetlink.h>
#include <linux/skbuff.h>
#include <linux/spinlock.h>
#include <linux/utsname.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "channel.h"
#include "channel_rx.h"
#include "codec.h"
#include "key.h"
#include "main.h"
#include "pf.h"
#include "request.h"
#include "vpf.h"

#define HELLO_FIRST_MS 100
#define HELLO_DOUBLINGS 5 /* 100 ms ... 3.2 s */
#define HELLO_REST_MS 30000
#define HELLO_MIN_MS 50 /* between any two */

static const u8 group[ETH_ALEN] = VPF_CTL_GROUP;

bool vpf_channel_usable(const struct vpf_pf *pf)
{
	return netif_running(pf->conduit) && netif_carrier_ok(pf->conduit);
}

/* vpfd's last HELLO_REPLY; all zeros before the first. Any context. */
void vpf_channel_hello(struct vpf_pf *pf, struct vpf_hello_reply *ret_hello)
{
	spin_lock_bh(&pf->lock);
	*ret_hello = pf->ch.hello;
	spin_unlock_bh(&pf->lock);
}

/* vpfd has answered before, with one of our keys: this is a virtual PF. Any context. */
bool vpf_channel_answered(struct vpf_pf *pf)
{
	bool answered;

	spin_lock_bh(&pf->lock);
	answered = pf->ch.key_known;
	spin_unlock_bh(&pf->lock);
	return answered;
}

int vpf_channel_send(struct vpf_pf *pf, const u8 *message, size_t len, gfp_t gfp)
{
	struct net_device *dev = pf->conduit;
	size_t padded = max_t(size_t, len, ETH_ZLEN - ETH_HLEN);
	struct sk_buff *skb;
	int err = -ENOMEM;

	skb = alloc_skb(LL_RESERVED_SPACE(dev) + padded + dev->needed_tailroom, gfp);
	if (!skb)
		goto failed;
	skb_reserve(skb, LL_RESERVED_SPACE(dev));
	skb_reset_network_header(skb);
	skb_put_data(skb, message, len);
	skb_put_zero(skb, padded - len);
	skb->dev = dev;
	skb->protocol = htons(VPF_CTL_ETHERTYPE);
	skb->priority = TC_PRIO_CONTROL;
	err = dev_hard_header(skb, dev, VPF_CTL_ETHERTYPE, group, dev->dev_addr, skb->len);
	if (err < 0) {
		kfree_skb(skb);
		goto failed;
	}
	err = dev_queue_xmit(skb);
	if (err == NET_XMIT_SUCCESS || err == NET_XMIT_CN)
		return 0;
	err = -ENOBUFS;
failed:
	spin_lock_bh(&pf->lock);
	pf->counters.send_failed++;
	spin_unlock_bh(&pf->lock);
	return err;
}

/* @since: jiffies when vpfd was last known to be there. */
void vpf_channel_session_gone(struct vpf_pf *pf, unsigned long since)
{
	struct vpf_channel *ch = &pf->ch;

	lockdep_assert_held(&pf->lock);
	if (ch->state != VPF_SESSION_UP)
		return;
	ch->state = VPF_SESSION_NONE;
	ch->epoch++;
	ch->lost_at = since;
	ch->tries = 0;
	ch->nonce_valid = false;
	wake_up_all(&ch->wait);
}

/* Sends HELLO as soon as the minimum interval allows. Any context. */
void vpf_channel_kick(struct vpf_pf *pf)
{
	struct vpf_channel *ch = &pf->ch;
	unsigned long delay = 0, earliest;
	bool wanted;

	spin_lock_bh(&pf->lock);
	earliest = ch->hello_at + msecs_to_jiffies(HELLO_MIN_MS);
	if (time_before(jiffies, earliest))
		delay = earliest - jiffies;
	ch->tries = 0;
	wanted = ch->state == VPF_SESSION_NONE;
	if (wanted)
		mod_delayed_work(vpf_wq, &ch->hello_work, delay);
	spin_unlock_bh(&pf->lock);
}

/* The session can no longer be relied on: ends it and looks for a new one. Any context. */
void vpf_channel_lost(struct vpf_pf *pf, unsigned long since)
{
	spin_lock_bh(&pf->lock);
	vpf_channel_session_gone(pf, since);
	spin_unlock_bh(&pf->lock);
	vpf_channel_kick(pf);
}

/* Time until the next HELLO. With several keys, each is tried once before the interval grows. */
static unsigned int hello_interval(const struct vpf_pf *pf)
{
	const struct vpf_channel *ch = &pf->ch;
	unsigned int round;

	lockdep_assert_held(&pf->lock);
	round = (ch->tries - 1) / (ch->key_known ? 1 : vpf_keys_n);
	return round <= HELLO_DOUBLINGS ? HELLO_FIRST_MS << round : HELLO_REST_MS;
}

static void hello_work(struct work_struct *work)
{
	struct vpf_channel *ch =
		container_of(to_delayed_work(work), struct vpf_channel, hello_work);
	struct vpf_pf *pf = container_of(ch, struct vpf_pf, ch);
	u8 message[VPF_REQUEST_MAX];
	unsigned int key, interval;
	size_t len;

	spin_lock_bh(&pf->lock);
	if (ch->state != VPF_SESSION_NONE) {
		spin_unlock_bh(&pf->lock);
		return;
	}
	if (!vpf_channel_usable(pf)) {
		/* Events of the conduit trigger another try; this is the fallback. */
		queue_delayed_work(vpf_wq, &ch->hello_work, msecs_to_jiffies(HELLO_REST_MS));
		spin_unlock_bh(&pf->lock);
		return;
	}
	if (!ch->nonce_valid) { /* the same for all tries, so a late answer counts, too */
		get_random_bytes(&ch->nonce, sizeof(ch->nonce));
		ch->nonce_valid = true;
	}
	key = ch->key_known ? ch->key : ch->tries % vpf_keys_n;
	ch->tries++;
	interval = hello_interval(pf);
	ch->hello_at = jiffies;
	pf->counters.hellos++;
	len = vpf_encode_hello(message, &vpf_keys[key], ch->nonce, VPF_MODULE_VERSION,
			       init_utsname()->release);
	queue_delayed_work(vpf_wq, &ch->hello_work, msecs_to_jiffies(interval));
	spin_unlock_bh(&pf->lock);
	vpf_channel_send(pf, message, len, GFP_KERNEL);
	if (interval == HELLO_REST_MS)
		vpf_pf_job(pf, VPF_JOB_GIVE_UP);
}

/* HELLO was answered. In a new session, fetches all records, then has the conduit taken over. */
static void sync_work(struct work_struct *work)
{
	struct vpf_channel *ch = container_of(work, struct vpf_channel, sync_work);
	struct vpf_pf *pf = container_of(ch, struct vpf_pf, ch);
	struct vpf_hello_reply hello;
	bool up, tell;

	spin_lock_bh(&pf->lock);
	up = ch->state == VPF_SESSION_UP;
	hello = ch->hello;
	tell = ch->state == VPF_SESSION_NONE && hello.status == VPF_CTL_VERSION_UNKNOWN &&
	       !ch->version_told;
	if (tell)
		ch->version_told = true;
	spin_unlock_bh(&pf->lock);
	if (tell)
		netdev_warn(pf->conduit,
			    "vpf: vpfd speaks versions %u to %u, this driver speaks %u\n",
			    hello.min_version, hello.max_version, VPF_CTL_VERSION);
	/* If it fails, the session is lost or being closed; the next one starts this again. */
	if (up && !vpf_request_sync(pf))
		vpf_pf_job(pf, VPF_JOB_TAKE);
}

void vpf_channel_init(struct vpf_pf *pf)
{
	struct vpf_channel *ch = &pf->ch;

	mutex_init(&ch->request_lock);
	init_waitqueue_head(&ch->wait);
	INIT_DELAYED_WORK(&ch->hello_work, hello_work);
	INIT_WORK(&ch->sync_work, sync_work);
	ch->lost_at = jiffies;
	ch->hello_at = jiffies - msecs_to_jiffies(HELLO_MIN_MS);
	ch->ptype.type = htons(VPF_CTL_ETHERTYPE);
	ch->ptype.dev = pf->conduit;
	ch->ptype.func = vpf_channel_rcv;
	ch->ptype.af_packet_priv = pf;
}

void vpf_channel_open(struct vpf_pf *pf)
{
	int err;

	ASSERT_RTNL();
	dev_add_pack(&pf->ch.ptype);
	err = dev_mc_add(pf->conduit, group);
	if (err)
		netdev_warn(pf->conduit,
			    "vpf: cannot join the control channel's multicast group: error %d\n",
			    err);
	vpf_channel_kick(pf);
}

/* Ends the session for good; waiters for one return. @bye: tell vpfd. */
void vpf_channel_close(struct vpf_pf *pf, bool bye)
{
	struct vpf_channel *ch = &pf->ch;
	u8 message[VPF_REQUEST_MAX];
	size_t len = 0;

	ASSERT_RTNL();
	spin_lock_bh(&pf->lock);
	if (bye && ch->state == VPF_SESSION_UP)
		len = vpf_encode_bare(message, &vpf_keys[ch->key], VPF_CTL_BYE, ch->id,
				      ++ch->sequence);
	ch->state = VPF_SESSION_CLOSED;
	ch->epoch++;
	wake_up_all(&ch->wait);
	spin_unlock_bh(&pf->lock);
	if (len)
		vpf_channel_send(pf, message, len, GFP_KERNEL);
	dev_remove_pack(&ch->ptype);
	dev_mc_del(pf->conduit, group);
}

/* After vpf_channel_close(), without RTNL: no work is left when it returns. */
void vpf_channel_free(struct vpf_pf *pf)
{
	cancel_delayed_work_sync(&pf->ch.hello_work);
	cancel_work_sync(&pf->ch.sync_work);
}
