/* SPDX-License-Identifier: Apache-2.0 */

#include "switch/worker.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <urcu-qsbr.h>

#include "switch/uplink.h"
#include "util/clock.h"
#include "util/eventfd.h"

#define LOOK_NS    20000u /* between two looks at epoll while queues are active */
#define EVENTS     64
#define HINT_AHEAD 3 /* queues */
/* Polls in vain before a queue's driver is asked for kicks again. With little else to do they take no time; a
 * worker that serves other queues keeps polling this one, which costs less than a kick. */
#define QUIET_LOOKS 16
/* If many queues are throttled, each waits a little longer, so that several are found due together. */
#define RESUME_EACH_NS 4000u
#define RESUME_MAX_NS  (SHAPER_DEPTH_NS / 4)

static void drain_fd(int fd)
{
	uint64_t n;

	if (read(fd, &n, sizeof(n)) < 0) /* EAGAIN: nothing to drain */
		return;
}

void worker_note(struct worker *w, const struct worker_note *note)
{
	uint32_t tail = w->note_tail, head = __atomic_load_n(&w->note_head, __ATOMIC_ACQUIRE);

	if (!note->port_id) {
		if (!__atomic_exchange_n(&w->broken_note, true, __ATOMIC_SEQ_CST))
			(void)eventfd_write(w->pool->notefd, 1);
		return;
	}
	if (tail - head == WORKER_NOTES)
		return;
	w->notes[tail % WORKER_NOTES] = *note;
	__atomic_store_n(&w->note_tail, tail + 1, __ATOMIC_RELEASE);
	(void)eventfd_write(w->pool->notefd, 1);
}

bool worker_next_note(struct worker *w, struct worker_note *ret)
{
	uint32_t head = w->note_head;

	if (__atomic_exchange_n(&w->broken_note, false, __ATOMIC_SEQ_CST)) {
		*ret = (struct worker_note){0};
		return true;
	}
	if (head == __atomic_load_n(&w->note_tail, __ATOMIC_ACQUIRE))
		return false;
	*ret = w->notes[head % WORKER_NOTES];
	__atomic_store_n(&w->note_head, head + 1, __ATOMIC_RELEASE);
	return true;
}

void worker_note_control(struct worker_pool *pool)
{
	if (!__atomic_exchange_n(&pool->control_note, true, __ATOMIC_SEQ_CST))
		(void)eventfd_write(pool->notefd, 1);
}

bool worker_next_control(struct worker_pool *pool)
{
	return __atomic_exchange_n(&pool->control_note, false, __ATOMIC_SEQ_CST);
}

void worker_call(struct worker *w, struct sw_queue *q)
{
	for (unsigned int i = 0; i < w->n_calls; i++)
		if (w->calls[i] == q)
			return;
	if (w->n_calls == WORKER_CALLS)
		worker_flush_calls(w);
	w->calls[w->n_calls++] = q;
}

void worker_flush_calls(struct worker *w)
{
	for (unsigned int i = 0; i < w->n_calls; i++)
		vring_call(&w->calls[i]->vr);
	w->n_calls = 0;
}

int worker_watch(struct worker *w, int fd, struct poll_source *source)
{
	/* Edge-triggered: a kick need not be read to be over; uplinks are level-triggered so that a bounded
	 * read leaves no frame behind. */
	struct epoll_event ev = {
		.events = EPOLLIN | (source->kind == POLL_QUEUE ? (uint32_t)EPOLLET : 0),
		.data.ptr = source,
	};

	return epoll_ctl(w->epfd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

void worker_unwatch(struct worker *w, int fd)
{
	epoll_ctl(w->epfd, EPOLL_CTL_DEL, fd, NULL);
}

/* Room for one more. */
static int grow(struct sw_queue ***list, unsigned int n, unsigned int *room)
{
	unsigned int want = *room ? 2 * *room : 64;
	struct sw_queue **bigger;

	if (n < *room)
		return 0;
	bigger = realloc(*list, want * sizeof(struct sw_queue *));
	if (!bigger)
		return -ENOMEM;
	*list = bigger;
	*room = want;
	return 0;
}

static void set_throttled(struct worker *w, unsigned int n)
{
	__atomic_store_n(&w->n_throttled, n, __ATOMIC_RELAXED);
}

int worker_activate(struct worker *w, struct sw_queue *q)
{
	if (q->active || q->throttled)
		return 0;
	/* Room for the throttled ones, too: they return without needing memory. */
	if (grow(&w->active, w->n_active + w->n_throttled, &w->room_active) < 0)
		return -ENOMEM;
	q->active = true;
	q->active_pos = (int)w->n_active;
	w->active[w->n_active++] = q;
	q->busy_until = w->now + w->window.ns;
	q->quiet = 0;
	vring_kick_disable(&q->vr);
	return 0;
}

void worker_deactivate(struct worker *w, struct sw_queue *q)
{
	struct sw_queue *last;

	if (q->throttled) {
		last = w->throttled[w->n_throttled - 1];
		w->throttled[q->active_pos] = last;
		last->active_pos = q->active_pos;
		q->throttled = false;
		q->resume_at = 0;
		set_throttled(w, w->n_throttled - 1);
		if (!w->n_throttled)
			w->next_resume = UINT64_MAX;
		return;
	}
	if (!q->active)
		return;
	last = w->active[--w->n_active];
	w->active[q->active_pos] = last;
	last->active_pos = q->active_pos;
	q->active = false;
}

void worker_resume(struct worker *w, struct sw_queue *q)
{
	if (!q->throttled)
		return;
	worker_deactivate(w, q);
	(void)worker_activate(w, q); /* there is room */
}

/* From the active list to the throttled one. Without memory for the list it stays active, and asks each
 * time. */
static void throttle(struct worker *w, struct sw_queue *q)
{
	uint64_t at = q->resume_at + MIN((uint64_t)w->n_throttled * RESUME_EACH_NS, RESUME_MAX_NS);

	q->resume_at = 0;
	if (grow(&w->throttled, w->n_throttled, &w->room_throttled) < 0)
		return;
	worker_deactivate(w, q);
	q->resume_at = at;
	q->throttled = true;
	q->active_pos = (int)w->n_throttled;
	w->throttled[w->n_throttled] = q;
	set_throttled(w, w->n_throttled + 1);
	w->next_resume = MIN(w->next_resume, at);
}

static void resume_due(struct worker *w)
{
	uint64_t next = UINT64_MAX;

	for (unsigned int i = 0; i < w->n_throttled;) {
		struct sw_queue *q = w->throttled[i];

		if (q->resume_at <= w->now) {
			worker_resume(w, q);
			continue;
		}
		next = MIN(next, q->resume_at);
		i++;
	}
	w->next_resume = next;
}

static void resume_all(struct worker *w, void *arg)
{
	(void)arg;
	while (w->n_throttled)
		worker_resume(w, w->throttled[0]);
}

void worker_pool_resume(struct worker_pool *pool)
{
	for (unsigned int i = 0; i < pool->n; i++)
		if (__atomic_load_n(&pool->worker[i]->n_throttled, __ATOMIC_RELAXED))
			worker_run(pool->worker[i], resume_all, NULL);
}

/* Prefetches what taking from the queues after position i will read: two of them, so that what the later one
 * needs first has arrived by then. */
static inline void hint_active(const struct worker *w, unsigned int i)
{
	if (i + 2 * HINT_AHEAD < w->n_active)
		vring_hint_indices(&w->active[i + 2 * HINT_AHEAD]->vr);
	if (i + HINT_AHEAD < w->n_active)
		vring_hint_desc(&w->active[i + HINT_AHEAD]->vr);
}

/* One pass over the active queues. Not inlined, so that a profile can tell it from waiting. */
static __attribute__((noinline)) void poll_active(struct worker *w)
{
	struct burst *b = &w->burst;

	for (unsigned int i = 0; i < w->n_active;) {
		struct sw_queue *q = w->active[i];
		unsigned int n;

		hint_active(w, i);
		n = port_take_tx(w, q);
		if (b->n_sources) {
			b->looks++;
			if (burst_full(b))
				burst_run(w);
		}
		if (n) {
			q->busy_until = w->now + w->window.ns;
			q->quiet = 0;
		} else if (unlikely(q->resume_at)) {
			throttle(w, q);
			if (q->throttled)
				continue;
		} else if (unlikely(q->vr.broken)) {
			worker_deactivate(w, q);
			continue;
		} else if (++q->quiet >= QUIET_LOOKS && w->now >= q->busy_until && q->kickfd >= 0) {
			/* Buffers that arrived between the look and the enabling of kicks would wait
			 * forever. */
			if (!vring_kick_enable(&q->vr)) {
				worker_deactivate(w, q);
				continue;
			}
			vring_kick_disable(&q->vr);
		}
		i++;
	}
	burst_run(w);
}

static void handle_events(struct worker *w, const struct epoll_event *events, int n)
{
	for (int i = 0; i < n; i++) {
		struct poll_source *source = events[i].data.ptr;

		switch (source->kind) {
		case POLL_WAKE:
			drain_fd(w->wakefd);
			break;
		case POLL_QUEUE:
			/* Without memory for the list the queue waits for its next kick. */
			(void)worker_activate(w, container_of(source, struct sw_queue, source));
			break;
		case POLL_UPLINK:
			uplink_poll(w, container_of(source, struct uplink_queue, source));
			w->look = true;
			w->look_until = w->now + w->window.ns;
			break;
		}
	}
}

static void run_request(struct worker *w)
{
	pthread_mutex_lock(&w->mutex);
	if (w->run) {
		w->run(w, w->run_arg);
		w->run = NULL;
		__atomic_store_n(&w->run_pending, false, __ATOMIC_RELAXED);
		pthread_cond_signal(&w->done);
	}
	pthread_mutex_unlock(&w->mutex);
}

/* Sleeps until something happens, or a throttled queue may continue. */
static int wait_events(struct worker *w, struct epoll_event *events)
{
	struct timespec left;
	uint64_t ns;
	int n;

	if (likely(w->next_resume == UINT64_MAX))
		return epoll_wait(w->epfd, events, EVENTS, -1);
	ns = w->next_resume > w->now ? w->next_resume - w->now : 0;
	left = (struct timespec){(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
	n = epoll_pwait2(w->epfd, events, EVENTS, &left, NULL);
	if (n < 0 && errno == ENOSYS) /* before Linux 5.11 */
		n = epoll_wait(w->epfd, events, EVENTS, (int)MIN(ns / 1000000u + 1, 1000u));
	return n;
}

static void *worker_main(void *arg)
{
	struct epoll_event events[EVENTS];
	struct worker *w = arg;
	uint64_t before, look_at = 0;

	urcu_qsbr_register_thread();
	w->now = clock_ns();
	while (!__atomic_load_n(&w->pool->stop, __ATOMIC_RELAXED)) {
		int n = 0;

		before = w->now;
		w->now = clock_ns();
		poll_window_passed(&w->window, w->now, w->now - before);
		if (w->n_active == 0 && w->now >= w->look_until) {
			before = w->now;
			__atomic_store_n(&w->sleeps, w->sleeps + 1, __ATOMIC_RELAXED);
			urcu_qsbr_thread_offline();
			n = wait_events(w, events);
			urcu_qsbr_thread_online();
			w->now = clock_ns();
			if (n > 0) /* not to wait for a throttled queue */
				poll_window_slept(&w->window, w->now, w->now - before);
		} else if (w->look || w->n_active == 0 || w->now >= look_at) {
			look_at = w->now + LOOK_NS;
			w->look = false;
			n = epoll_wait(w->epfd, events, EVENTS, 0);
		}
		handle_events(w, events, n);
		if (unlikely(__atomic_load_n(&w->run_pending, __ATOMIC_ACQUIRE)))
			run_request(w);
		if (unlikely(w->now >= w->next_resume))
			resume_due(w);
		poll_active(w);
		worker_flush_calls(w);
		__atomic_store_n(&w->polls, w->polls + 1, __ATOMIC_RELAXED);
		urcu_qsbr_quiescent_state();
	}
	urcu_qsbr_unregister_thread();
	return NULL;
}

void worker_run(struct worker *w, void (*fn)(struct worker *w, void *arg), void *arg)
{
	pthread_mutex_lock(&w->mutex);
	w->run = fn;
	w->run_arg = arg;
	__atomic_store_n(&w->run_pending, true, __ATOMIC_RELEASE);
	(void)eventfd_write(w->wakefd, 1);
	while (w->run)
		pthread_cond_wait(&w->done, &w->mutex);
	pthread_mutex_unlock(&w->mutex);
}

struct worker *worker_pool_pick(struct worker_pool *pool)
{
	struct worker *best = pool->worker[0];

	for (unsigned int i = 1; i < pool->n; i++)
		if (pool->worker[i]->queues < best->queues)
			best = pool->worker[i];
	return best;
}

static void worker_free(struct worker *w)
{
	if (!w)
		return;
	close_fd(&w->epfd);
	close_fd(&w->wakefd);
	pthread_mutex_destroy(&w->mutex);
	pthread_cond_destroy(&w->done);
	free(w->active);
	free(w->throttled);
	free(w);
}

static void prepare_signals(struct worker *w, void *arg)
{
	(void)w;
	*(int *)arg = signal_eventfd_prepare();
}

static int worker_start(struct worker_pool *pool, unsigned int id, int cpu, struct err *err)
{
	struct worker *w = aligned_alloc(CACHE_LINE, (sizeof(*w) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);
	sigset_t all, old;
	char name[24]; /* WORKER_MAX keeps it below the 16 bytes that the kernel accepts */
	int r;

	if (!w)
		return err_set(err, ENOMEM, NULL, "not enough memory for a worker");
	memset(w, 0, sizeof(*w));
	w->id = id;
	w->pool = pool;
	w->wake.kind = POLL_WAKE;
	w->next_resume = UINT64_MAX;
	poll_window_init(&w->window, pool->poll_ns);
	pthread_mutex_init(&w->mutex, NULL);
	pthread_cond_init(&w->done, NULL);
	w->epfd = epoll_create1(EPOLL_CLOEXEC);
	w->wakefd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->epfd < 0 || w->wakefd < 0 || worker_watch(w, w->wakefd, &w->wake) < 0) {
		r = err_set(err, errno, NULL, "cannot make a worker's descriptors: %s", strerror(errno));
		worker_free(w);
		return r;
	}
	/* Signals are the main thread's. */
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&w->thread, NULL, worker_main, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r) {
		worker_free(w);
		return err_set(err, r, NULL, "cannot start a worker: %s", strerror(r));
	}
	pool->worker[pool->n++] = w;
	worker_run(w, prepare_signals, &r);
	if (r < 0)
		return err_set(err, -r, NULL, "a worker cannot set up asynchronous I/O: %s", strerror(-r));
	snprintf(name, sizeof(name), "vpf-worker/%u", id);
	pthread_setname_np(w->thread, name);
	if (cpu >= 0) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET((unsigned int)cpu, &set);
		r = pthread_setaffinity_np(w->thread, sizeof(set), &set);
		if (r)
			return err_set(err, r, "cpus", "cannot run a worker on CPU %d: %s", cpu, strerror(r));
	}
	return 0;
}

int worker_pool_new(unsigned int n, unsigned int poll_us, const int *cpus, struct worker_pool **ret,
		    struct err *err)
{
	struct worker_pool *pool;
	int r = 0;

	if (!n || n > WORKER_MAX)
		return err_set(err, EINVAL, "workers", "there must be 1 to %d workers", WORKER_MAX);
	pool = calloc(1, sizeof(*pool));
	if (!pool)
		return err_set(err, ENOMEM, NULL, "not enough memory for the workers");
	pool->poll_ns = poll_us * 1000ull;
	pool->notefd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (pool->notefd < 0)
		r = err_set(err, errno, NULL, "cannot make an eventfd: %s", strerror(errno));
	for (unsigned int i = 0; i < n && !r; i++)
		r = worker_start(pool, i, cpus ? cpus[i] : -1, err);
	if (r < 0) {
		worker_pool_free(pool);
		return r;
	}
	*ret = pool;
	return 0;
}

void worker_pool_free(struct worker_pool *pool)
{
	if (!pool)
		return;
	__atomic_store_n(&pool->stop, true, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < pool->n; i++) {
		(void)eventfd_write(pool->worker[i]->wakefd, 1);
		pthread_join(pool->worker[i]->thread, NULL);
		worker_free(pool->worker[i]);
	}
	close_fd(&pool->notefd);
	free(pool);
}
