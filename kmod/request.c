// SPDX-License-Identifier: GPL-2.0-only
/* Requests to vpfd: one at a time, repeated until answered, bounded in time. */
#include <linux/jiffies.h>
#include <linux/lockdep.h>
#include <linux/minmax.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "request.h"
#include "channel.h"
#include "codec.h"
#include "key.h"
#include "main.h"
#include "vpf.h"

#define RETRY_FIRST_MS 100
/* A lost session may come back within this time: vpfd restarts, for example. */
#define SESSION_GRACE_MS 3000
#define SYNC_TIMEOUT_MS 3000
#define STATS_TIMEOUT_MS 300

/**
 * status_errno() - errno for a reply's status
 * @status: VPF_CTL_OK and so on; unknown values are failures
 */
static int status_errno(u16 status)
{
	switch (status) {
	case VPF_CTL_OK:
		return 0;
	case VPF_CTL_DENIED:
		return -EPERM;
	case VPF_CTL_INVALID:
		return -EINVAL;
	case VPF_CTL_NO_FUNCTION:
		return -ENOENT;
	case VPF_CTL_UNSUPPORTED:
		return -EOPNOTSUPP;
	case VPF_CTL_CONFLICT:
		return -EEXIST;
	default:
		return -EIO;
	}
}

static enum vpf_session_state state_of(struct vpf_pf *pf)
{
	enum vpf_session_state state;

	spin_lock_bh(&pf->lock);
	state = pf->ch.state;
	spin_unlock_bh(&pf->lock);
	return state;
}

static unsigned long until(unsigned long end)
{
	return time_before(jiffies, end) ? end - jiffies : 0;
}

/* Waits for a session that was lost a moment ago. */
static int wait_session(struct vpf_pf *pf, unsigned long deadline)
{
	struct vpf_channel *ch = &pf->ch;
	unsigned long end;

	lockdep_assert_held(&ch->request_lock);
	spin_lock_bh(&pf->lock);
	end = ch->lost_at + msecs_to_jiffies(SESSION_GRACE_MS);
	spin_unlock_bh(&pf->lock);
	if (time_after(end, deadline))
		end = deadline;
	wait_event_timeout(ch->wait, state_of(pf) != VPF_SESSION_NONE, until(end));
	switch (state_of(pf)) {
	case VPF_SESSION_UP:
		return 0;
	case VPF_SESSION_CLOSED:
		return -ENODEV;
	default:
		return -ENOTCONN;
	}
}

/* A request on its way: its message in the present session. */
struct attempt {
	struct vpf_request *request;
	unsigned long deadline; /* jiffies */
	bool repeated; /* also in a session before this one */
	unsigned int epoch; /* of the session */
	unsigned int events; /* applied before it was sent */
	size_t len;
	u8 message[VPF_REQUEST_MAX];
};

/* Makes the message for the present session, and the request the pending one. Returns false if
 * there is no session.
 */
static bool begin(struct vpf_pf *pf, struct attempt *a)
{
	const struct vpf_request *request = a->request;
	struct vpf_channel *ch = &pf->ch;
	const struct vpf_key *key;
	bool up;

	lockdep_assert_held(&ch->request_lock);
	spin_lock_bh(&pf->lock);
	up = ch->state == VPF_SESSION_UP;
	if (up) {
		key = &vpf_keys[ch->key];
		ch->sequence++;
		if (request->type == VPF_CTL_SET)
			a->len = vpf_encode_set(a->message, key, ch->id, ch->sequence,
						&request->set);
		else
			a->len = vpf_encode_range(a->message, key, request->type, ch->id,
						  ch->sequence, request->first, request->count);
		ch->pending = a->request;
		ch->answered = false;
		a->epoch = ch->epoch;
		a->events = ch->events_applied;
		pf->counters.requests++;
	}
	spin_unlock_bh(&pf->lock);
	return up;
}

static bool settled(struct vpf_pf *pf, unsigned int epoch)
{
	bool yes;

	spin_lock_bh(&pf->lock);
	yes = pf->ch.answered || pf->ch.epoch != epoch;
	spin_unlock_bh(&pf->lock);
	return yes;
}

enum outcome { ANSWERED, SESSION_CHANGED, TIMED_OUT };

static enum outcome outcome_of(const struct vpf_pf *pf, const struct attempt *a)
{
	lockdep_assert_held(&pf->lock);
	if (pf->ch.answered)
		return ANSWERED;
	return pf->ch.epoch == a->epoch ? TIMED_OUT : SESSION_CHANGED;
}

/* The request is no longer pending. The answer to a repeated one may be older than an event that
 * came in the meantime: then all is fetched again. Once the channel is closed, no work is queued.
 */
static void end(struct vpf_pf *pf, const struct attempt *a)
{
	struct vpf_channel *ch = &pf->ch;

	lockdep_assert_held(&pf->lock);
	ch->pending = NULL;
	if (ch->answered && a->repeated && a->events != ch->events_applied &&
	    a->request->type != VPF_CTL_STATS && ch->state != VPF_SESSION_CLOSED)
		queue_work(vpf_wq, &ch->sync_work);
}

static enum outcome exchange(struct vpf_pf *pf, struct attempt *a)
{
	struct vpf_channel *ch = &pf->ch;
	unsigned long interval = msecs_to_jiffies(RETRY_FIRST_MS);
	enum outcome outcome;

	lockdep_assert_held(&ch->request_lock);
	for (;;) {
		vpf_channel_send(pf, a->message, a->len, GFP_KERNEL);
		wait_event_timeout(ch->wait, settled(pf, a->epoch),
				   min(interval, until(a->deadline)));
		spin_lock_bh(&pf->lock);
		outcome = outcome_of(pf, a);
		if (outcome != TIMED_OUT || !until(a->deadline)) {
			end(pf, a);
			spin_unlock_bh(&pf->lock);
			return outcome;
		}
		pf->counters.retries++;
		spin_unlock_bh(&pf->lock);
		a->repeated = true;
		interval *= 2;
	}
}

/**
 * vpf_request() - ask vpfd and await its answer
 * @pf: the PF
 * @request: filled with the reply, whose records are in pf->fn[] when this returns
 * @timeout_ms: in total
 *
 * A request that one session leaves unanswered is repeated in the next: requests are idempotent.
 *
 * Context: sleeps; RTNL may be held, see "Locking".
 * Return: 0 or status_errno() of the reply; -ENOTCONN: no session for three seconds or more;
 * -ETIMEDOUT: no answer; -ENODEV: the PF is going away.
 */
int vpf_request(struct vpf_pf *pf, struct vpf_request *request, unsigned int timeout_ms)
{
	struct vpf_channel *ch = &pf->ch;
	struct attempt a = { .request = request };
	unsigned long started;
	int err;

	might_sleep();
	mutex_lock(&ch->request_lock);
	started = jiffies;
	a.deadline = started + msecs_to_jiffies(timeout_ms);
	for (;;) {
		err = wait_session(pf, a.deadline);
		if (err)
			break;
		if (!begin(pf, &a))
			continue;
		switch (exchange(pf, &a)) {
		case SESSION_CHANGED:
			continue;
		case TIMED_OUT:
			spin_lock_bh(&pf->lock);
			pf->counters.timeouts++;
			spin_unlock_bh(&pf->lock);
			vpf_channel_lost(pf, started);
			err = -ETIMEDOUT;
			break;
		case ANSWERED:
			err = status_errno(request->status);
			break;
		}
		break;
	}
	mutex_unlock(&ch->request_lock);
	return err;
}

/* A request for functions first ... end - 1, in as many requests as it takes. */
static int request_range(struct vpf_pf *pf, u8 type, unsigned int first, unsigned int end,
			 unsigned int timeout_ms)
{
	struct vpf_request request = { .type = type };
	int err;

	while (first < end) {
		request.first = first;
		request.count = end - first;
		err = vpf_request(pf, &request, timeout_ms);
		if (err)
			return err;
		first += request.ret_count;
	}
	return 0;
}

/* Fetches the records of all functions that both the PCI device and vpfd have. */
int vpf_request_sync(struct vpf_pf *pf)
{
	unsigned int functions;

	spin_lock_bh(&pf->lock);
	functions = 1 + min_t(unsigned int, pf->vfs, pf->ch.hello.vfs);
	spin_unlock_bh(&pf->lock);
	return request_range(pf, VPF_CTL_GET, 0, functions, SYNC_TIMEOUT_MS);
}

int vpf_request_stats(struct vpf_pf *pf, unsigned int vfs)
{
	return request_range(pf, VPF_CTL_STATS, 1, 1 + vfs, STATS_TIMEOUT_MS);
}
