/* SPDX-License-Identifier: Apache-2.0 */

#include "util/log_share.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "util/util.h"

#define SHARES 512
#define PROBES 8

struct share {
	char pf[LOG_SHARE_NAME];
	uint64_t paid_until; /* µs: each line moves it on; how far ahead of the time it may be is the burst */
	uint64_t left_out, since;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct share shares[SHARES], others;
static unsigned int waiting; /* shares with left_out, read without the mutex */

static bool idle(const struct share *s, uint64_t now)
{
	return s->paid_until <= now && !s->left_out;
}

/* That of the PF, or one that is free now. If there is neither, PFs whose names collide share one. */
static struct share *share_of(const char *pf, uint64_t now)
{
	struct share *found = NULL, *s;
	unsigned int hash = 5381;

	for (const char *c = pf; *c; c++)
		hash = hash * 33 + (unsigned char)*c;
	for (unsigned int i = 0; i < PROBES; i++) {
		s = &shares[(hash + i) % SHARES];
		if (!strncmp(s->pf, pf, sizeof(s->pf) - 1))
			return s;
		if (!found && idle(s, now))
			found = s;
	}
	if (!found)
		return &shares[hash % SHARES];
	*found = (struct share){0};
	snprintf(found->pf, sizeof(found->pf), "%s", pf);
	return found;
}

static void reported(struct share *s)
{
	if (s->left_out)
		__atomic_fetch_sub(&waiting, 1, __ATOMIC_RELAXED);
	s->left_out = 0;
}

bool log_share_take(const char *pf, uint64_t now, uint64_t *ret_left_out)
{
	uint64_t cost = 1000000 / (pf ? LOG_SHARE_PF_RATE : LOG_SHARE_OTHER_RATE);
	struct share *s;
	bool may;

	pthread_mutex_lock(&mutex);
	s = pf ? share_of(pf, now) : &others;
	may = s->paid_until + cost <= now + LOG_SHARE_BURST * cost;
	if (may) {
		s->paid_until = MAX(s->paid_until, now) + cost;
		*ret_left_out = s->left_out;
		reported(s);
	} else if (!s->left_out++) {
		s->since = now;
		__atomic_fetch_add(&waiting, 1, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&mutex);
	return may;
}

bool log_share_left_out(uint64_t now, char ret_pf[LOG_SHARE_NAME], uint64_t *ret_left_out)
{
	bool found = false;

	if (likely(!__atomic_load_n(&waiting, __ATOMIC_RELAXED)))
		return false;
	pthread_mutex_lock(&mutex);
	for (unsigned int i = 0; i <= SHARES && !found; i++) {
		struct share *s = i < SHARES ? &shares[i] : &others;

		if (!s->left_out || now - s->since < LOG_SHARE_REPORT_US)
			continue;
		found = true;
		memcpy(ret_pf, s->pf, sizeof(s->pf));
		*ret_left_out = s->left_out;
		reported(s);
	}
	pthread_mutex_unlock(&mutex);
	return found;
}
