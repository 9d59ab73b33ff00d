/* SPDX-License-Identifier: Apache-2.0 */

#include "datapath/side_thread.h"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#define SIDE_STACK (256u << 10) /* bytes */

struct side_thread {
	void *arg;
	side_fn *end;

	pthread_mutex_t mutex;
	pthread_cond_t cond;
	side_fn *next, *finished; /* under the mutex */
	bool over;                /* under the mutex */
	int donefd;               /* the thread's, as is everything else, once it is over */

	/* main thread */
	sd_event_source *source;
	side_done *done;
	void *ctx;
};

static void destroy(struct side_thread *t)
{
	close_fd(&t->donefd);
	pthread_cond_destroy(&t->cond);
	pthread_mutex_destroy(&t->mutex);
	free(t);
}

static void *side_main(void *arg)
{
	struct side_thread *t = arg;

	pthread_mutex_lock(&t->mutex);
	for (;;) {
		side_fn *fn;

		while (!t->next && !t->over)
			pthread_cond_wait(&t->cond, &t->mutex);
		if (t->over)
			break;
		fn = t->next;
		t->next = NULL;
		pthread_mutex_unlock(&t->mutex);
		fn(t->arg);
		pthread_mutex_lock(&t->mutex);
		t->finished = fn;
		(void)eventfd_write(t->donefd, 1);
	}
	pthread_mutex_unlock(&t->mutex);
	t->end(t->arg);
	destroy(t);
	return NULL;
}

static int on_done(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct side_thread *t = userdata;
	side_fn *fn;
	uint64_t n;

	(void)source;
	(void)revents;
	if (read(fd, &n, sizeof(n)) < 0)
		return 0;
	pthread_mutex_lock(&t->mutex);
	fn = t->finished;
	t->finished = NULL;
	pthread_mutex_unlock(&t->mutex);
	if (fn)
		t->done(t->ctx, fn);
	return 0;
}

static int start(struct side_thread *t)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t thread;
	int r = pthread_attr_init(&attr);

	if (r)
		return -r;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, SIDE_STACK);
	/* Signals go to the main thread, except the one that a missing page of guest memory raises. */
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&thread, &attr, side_main, t);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (r)
		return -r;
	pthread_setname_np(thread, "vpf-side");
	return 0;
}

int side_thread_new(sd_event *event, void *arg, side_fn *end, side_done *done, void *ctx,
		    struct side_thread **ret)
{
	struct side_thread *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->arg = arg;
	t->end = end;
	t->done = done;
	t->ctx = ctx;
	pthread_mutex_init(&t->mutex, NULL);
	pthread_cond_init(&t->cond, NULL);
	t->donefd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = t->donefd < 0 ? -errno : sd_event_add_io(event, &t->source, t->donefd, EPOLLIN, on_done, t);
	if (r >= 0)
		r = start(t);
	if (r < 0) {
		sd_event_source_disable_unref(t->source);
		destroy(t);
		return r;
	}
	*ret = t;
	return 0;
}

void side_thread_run(struct side_thread *t, side_fn *fn)
{
	pthread_mutex_lock(&t->mutex);
	t->next = fn;
	pthread_cond_signal(&t->cond);
	pthread_mutex_unlock(&t->mutex);
}

void side_thread_free(struct side_thread *t)
{
	if (!t)
		return;
	t->source = sd_event_source_disable_unref(t->source);
	pthread_mutex_lock(&t->mutex);
	t->over = true;
	pthread_cond_signal(&t->cond);
	pthread_mutex_unlock(&t->mutex);
}
