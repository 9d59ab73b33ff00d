// SPDX-License-Identifier: GPL-2.0-only
/* Received frames of the control channel: handled in softirq, one at a time, without allocation. */
#include <linux/if_vlan.h>
#include <linux/jiffies.h>
#include <linux/lockdep.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "channel_rx.h"
#include "channel.h"
#include "codec.h"
#include "key.h"
#include "main.h"
#include "request.h"
#include "vf.h"
#include "vpf.h"

/* The records are of functions first ... first + count - 1, in this order; if @first is negative,
 * of any functions.
 */
static enum vpf_bad take_functions(struct vpf_pf *pf, const u8 *records, u16 count, int first)
{
	struct vpf_function rec;
	unsigned int i;
	enum vpf_bad bad;

	lockdep_assert_held(&pf->lock);
	for (i = 0; i < count; i++) { /* all or nothing */
		bad = vpf_decode_function(records, i, &rec);
		if (bad)
			return bad;
		if (first >= 0 && rec.function != first + i)
			return VPF_BAD_VALUE;
	}
	for (i = 0; i < count; i++) {
		vpf_decode_function(records, i, &rec);
		vpf_fn_record(pf, &rec);
	}
	return VPF_GOOD;
}

static enum vpf_bad take_stats(struct vpf_pf *pf, const u8 *records, u16 count, int first)
{
	struct vpf_stats stats;
	unsigned int i;

	lockdep_assert_held(&pf->lock);
	for (i = 0; i < count; i++) {
		vpf_decode_stats(records, i, &stats);
		if (stats.function != first + i)
			return VPF_BAD_VALUE;
	}
	for (i = 0; i < count; i++) {
		vpf_decode_stats(records, i, &stats);
		vpf_fn_stats(pf, &stats);
	}
	return VPF_GOOD;
}

static enum vpf_bad rx_hello_reply(struct vpf_pf *pf, const struct vpf_msg *msg, unsigned int key)
{
	struct vpf_channel *ch = &pf->ch;
	struct vpf_hello_reply hello;
	enum vpf_bad bad;

	lockdep_assert_held(&pf->lock);
	bad = vpf_decode_hello_reply(msg, &hello);
	if (bad)
		return bad;
	if (ch->state != VPF_SESSION_NONE || !ch->nonce_valid || hello.nonce != ch->nonce)
		return VPF_BAD_SESSION;
	ch->hello = hello;
	if (hello.status == VPF_CTL_OK) {
		ch->nonce_valid = false;
		ch->key = key;
		ch->key_known = true;
		ch->state = VPF_SESSION_UP;
		ch->id = msg->session;
		ch->epoch++;
		ch->sequence = 0;
		ch->any_event = false;
		ch->version_told = false;
		pf->counters.sessions++;
		wake_up_all(&ch->wait);
	}
	queue_work(vpf_wq, &ch->sync_work);
	return VPF_GOOD;
}

static enum vpf_bad rx_reply(struct vpf_pf *pf, const struct vpf_msg *msg)
{
	struct vpf_channel *ch = &pf->ch;
	struct vpf_request *request = ch->pending;
	struct vpf_reply reply;
	int first;
	enum vpf_bad bad;

	lockdep_assert_held(&pf->lock);
	bad = vpf_decode_reply(msg, &reply);
	if (bad)
		return bad;
	if (!request || ch->answered || msg->sequence != ch->sequence)
		return VPF_BAD_SESSION;
	if (reply.request != request->type)
		return VPF_BAD_VALUE;
	if (reply.status == VPF_CTL_OK) {
		first = request->type == VPF_CTL_SET ? request->set.function : request->first;
		if (reply.first != first ||
		    reply.count > (request->type == VPF_CTL_SET ? 1 : request->count))
			return VPF_BAD_VALUE;
		bad = request->type == VPF_CTL_STATS ?
			      take_stats(pf, reply.records, reply.count, first) :
			      take_functions(pf, reply.records, reply.count, first);
		if (bad)
			return bad;
	}
	request->status = reply.status;
	request->ret_first = reply.first;
	request->ret_count = reply.count;
	memcpy(request->text, reply.text, sizeof(request->text));
	ch->answered = true;
	pf->counters.replies++;
	wake_up_all(&ch->wait);
	return VPF_GOOD;
}

/* Sets *@ret_ack if it is to be acknowledged. */
static enum vpf_bad rx_event(struct vpf_pf *pf, const struct vpf_msg *msg, bool *ret_ack)
{
	struct vpf_channel *ch = &pf->ch;
	const u8 *records;
	u16 count;
	enum vpf_bad bad;

	lockdep_assert_held(&pf->lock);
	bad = vpf_decode_event(msg, &count, &records);
	if (bad)
		return bad;
	/* The last one is repeated: our acknowledgement was lost. */
	if (ch->any_event && msg->sequence == ch->last_event) {
		*ret_ack = true;
		return VPF_GOOD;
	}
	if (ch->any_event && (s32)(msg->sequence - ch->last_event) < 0)
		return VPF_BAD_SESSION;
	bad = take_functions(pf, records, count, -1);
	if (bad)
		return bad;
	ch->last_event = msg->sequence;
	ch->any_event = true;
	ch->events_applied++;
	pf->counters.events++;
	*ret_ack = true;
	return VPF_GOOD;
}

/* What to do once the lock is released. */
struct after {
	size_t ack_len;
	u8 ack[VPF_REQUEST_MAX];
	bool kick;
};

static enum vpf_bad rx_authentic(struct vpf_pf *pf, const struct vpf_msg *msg, unsigned int key,
				 struct after *after)
{
	struct vpf_channel *ch = &pf->ch;
	bool ours = ch->state == VPF_SESSION_UP && msg->session == ch->id;
	bool ack = false;
	enum vpf_bad bad;

	lockdep_assert_held(&pf->lock);
	switch (msg->type) {
	case VPF_CTL_HELLO_REPLY:
		return rx_hello_reply(pf, msg, key);
	case VPF_CTL_RESET:
		if (ch->state == VPF_SESSION_CLOSED || (msg->session && !ours))
			return VPF_BAD_SESSION;
		bad = vpf_decode_bare(msg);
		if (bad)
			return bad;
		pf->counters.resets++;
		vpf_channel_session_gone(pf, jiffies);
		after->kick = true;
		return VPF_GOOD;
	case VPF_CTL_REPLY:
		return ours ? rx_reply(pf, msg) : VPF_BAD_SESSION;
	case VPF_CTL_EVENT:
		if (!ours)
			return VPF_BAD_SESSION;
		bad = rx_event(pf, msg, &ack);
		if (ack)
			after->ack_len = vpf_encode_bare(after->ack, &vpf_keys[ch->key],
							 VPF_CTL_EVENT_ACK, ch->id, msg->sequence);
		return bad;
	default:
		return VPF_BAD_TYPE;
	}
}

static enum vpf_bad rx_bytes(struct vpf_pf *pf, size_t len, struct after *after)
{
	struct vpf_channel *ch = &pf->ch;
	enum vpf_bad bad = VPF_BAD_TAG;
	struct vpf_msg msg;
	unsigned int i;

	lockdep_assert_held(&pf->lock);
	if (ch->key_known) {
		bad = vpf_decode_msg(ch->rx, len, &vpf_keys[ch->key], &msg);
		return bad ? bad : rx_authentic(pf, &msg, ch->key, after);
	}
	for (i = 0; i < vpf_keys_n; i++) {
		bad = vpf_decode_msg(ch->rx, len, &vpf_keys[i], &msg);
		if (!bad)
			return rx_authentic(pf, &msg, i, after);
		if (bad != VPF_BAD_TAG)
			break;
	}
	return bad;
}

/* Bound to the conduit; conduit_rx() keeps control frames from the PF netdev. */
int vpf_channel_rcv(struct sk_buff *skb, struct net_device *dev, struct packet_type *ptype,
		    struct net_device *orig_dev)
{
	struct vpf_pf *pf = ptype->af_packet_priv;
	struct after after = {};
	size_t len = min_t(size_t, skb->len, VPF_CTL_MAX);
	enum vpf_bad bad;

	if (skb_vlan_tag_present(skb) || skb->pkt_type == PACKET_LOOPBACK) {
		kfree_skb(skb);
		return NET_RX_DROP;
	}
	spin_lock_bh(&pf->lock);
	if (skb_copy_bits(skb, 0, pf->ch.rx, len))
		bad = VPF_BAD_LENGTH;
	else
		bad = rx_bytes(pf, len, &after);
	if (bad)
		pf->counters.bad[bad]++;
	spin_unlock_bh(&pf->lock);
	if (after.ack_len)
		vpf_channel_send(pf, after.ack, after.ack_len, GFP_ATOMIC);
	if (after.kick)
		vpf_channel_kick(pf);
	consume_skb(skb);
	return NET_RX_SUCCESS;
}
