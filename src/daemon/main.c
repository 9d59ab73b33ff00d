/* SPDX-License-Identifier: Apache-2.0 */

/* vpfd: sets up its parts, runs the main loop, tears the parts down.
 *
 * Order of start. State directory (lock) → data plane (workers) → state loaded (sockets for QEMU) → control
 * channels → QMP → API socket → READY=1. The shutdown goes in the reverse order, except that the model
 * outlives the data plane, which reports to it while its functions are freed. */

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "api/env.h"
#include "api/moves.h"
#include "api/server.h"
#include "control/control.h"
#include "daemon/options.h"
#include "dataplane/dataplane.h"
#include "qemu/pf_qemu.h"
#include "util/clock.h"
#include "util/eventfd.h"

/* Longer than a guest may take to release a PF: 158 s with 255 VFs (qemu/qemu_link.h). */
#define DEFERRED_US (200 * 1000000ULL)

/* A connected function with one queue pair: listening socket, connection, back-end channel, and kick, call
 * and error descriptors of two queues. */
#define FDS_PER_FUNCTION 9
#define FDS_FUNCTIONS    1024 /* four virtual PFs of 255 VFs */
#define FDS_OTHER        256

struct daemon {
	sd_event *event;
	struct model *model;
	struct dataplane *dp;
	struct control *control;
	struct pf_qemu *qemu;
	struct api_server *server;
	struct moves *moves;
	struct api_env env;
};

static void raise_fd_limit(void)
{
	const rlim_t wanted = FDS_FUNCTIONS * FDS_PER_FUNCTION + FDS_OTHER;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
		log_warning("cannot raise the limit of open files to %llu: %s",
			    (unsigned long long)limit.rlim_max, strerror(errno));
		getrlimit(RLIMIT_NOFILE, &limit);
	}
	if (limit.rlim_cur < wanted)
		log_warning(
			"the limit of open files is %llu: enough for about %llu connected functions; for %d raise it to %llu (LimitNOFILE= of the unit)",
			(unsigned long long)limit.rlim_cur,
			(unsigned long long)(limit.rlim_cur > FDS_OTHER ? limit.rlim_cur - FDS_OTHER : 0) /
				FDS_PER_FUNCTION,
			FDS_FUNCTIONS, (unsigned long long)wanted);
}

static int make_run_dir(const char *dir, struct err *err)
{
	/* QEMU's user must reach the sockets in it, which have modes of their own. */
	if (!mkdir(dir, 0755)) {
		if (chmod(dir, 0755) < 0)
			return err_set(err, errno, NULL, "cannot set the mode of %s: %s", dir,
				       strerror(errno));
	} else if (errno != EEXIST) {
		return err_set(err, errno, NULL, "cannot create the run directory %s: %s", dir,
			       errno == ENOENT ? "the directory above it must exist" : strerror(errno));
	}
	return 0;
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *ctx)
{
	struct daemon *d = ctx;

	(void)source;
	log_notice("got %s from pid %u, stopping", info->ssi_signo == SIGINT ? "SIGINT" : "SIGTERM",
		   info->ssi_pid);
	return sd_event_exit(d->event, 0);
}

static int on_turn_over(sd_event_source *source, void *userdata)
{
	(void)source;
	(void)userdata;
	log_report_left_out();
	return 0;
}

static int daemon_event_loop(struct daemon *d, struct err *err)
{
	sigset_t mask;
	int r;

	/* Before any thread exists, so that all threads leave the signals to the loop. */
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
		return err_set(err, errno, NULL, "cannot block signals: %s", strerror(errno));
	signal(SIGPIPE, SIG_IGN);

	r = sd_event_default(&d->event);
	if (r >= 0)
		r = sd_event_add_signal(d->event, NULL, SIGTERM, on_signal, d);
	if (r >= 0)
		r = sd_event_add_signal(d->event, NULL, SIGINT, on_signal, d);
	if (r >= 0)
		r = sd_event_add_post(d->event, NULL, on_turn_over, d);
	if (r >= 0)
		r = sd_event_set_watchdog(d->event, true);
	if (r < 0)
		return err_set(err, -r, NULL, "cannot create the main loop: %s", strerror(-r));
	r = signal_eventfd_prepare();
	return r < 0 ? err_set(err, -r, NULL, "cannot set up asynchronous I/O: %s", strerror(-r)) : 0;
}

static unsigned int workers(void *dp, struct worker_info *ret, unsigned int max)
{
	return dataplane_workers(dp, ret, max);
}

static int daemon_start(struct daemon *d, const struct options *o, struct err *err)
{
	struct dataplane_config dp_config = {
		.workers = o->workers,
		.poll_us = o->poll_us,
		.socket_mode = o->socket_mode,
		.socket_group = o->group,
		.events = &model_dataplane_events,
	};
	_cleanup_free_ char *path = NULL;
	int r;

	r = daemon_event_loop(d, err);
	if (r < 0)
		return r;
	r = make_run_dir(o->run_dir, err);
	if (r < 0)
		return r;
	r = model_new(&(struct model_config){.event = d->event,
					     .state_dir = o->state_dir,
					     .run_dir = o->run_dir,
					     .socket_mode = o->socket_mode,
					     .socket_group = o->group},
		      &d->model, err);
	if (r < 0)
		return r;
	memcpy(dp_config.cpus, o->cpus, sizeof(dp_config.cpus));
	dp_config.event = d->event;
	dp_config.ctx = d->model;
	r = dataplane_new(&dp_config, &d->dp, err);
	if (r < 0)
		return r;
	r = model_load(d->model, &dataplane_ops, d->dp, err);
	if (r < 0)
		return r;
	r = control_new(
		&(struct control_config){
			.event = d->event, .model = d->model, .ops = &control_dataplane, .dp = d->dp},
		&d->control, err);
	if (r < 0)
		return r;
	r = pf_qemu_new(d->event, d->model, &d->qemu, err);
	if (r < 0)
		return r;

	r = moves_new(d->event, d->model, &d->moves);
	if (r < 0)
		return err_set(err, -r, NULL, "out of memory");
	d->env = (struct api_env){
		.model = d->model,
		.qemu = d->qemu,
		.control = d->control,
		.moves = d->moves,
		.workers = workers,
		.dp = d->dp,
		.started_us = clock_us(),
	};
	if (asprintf(&path, "%s/vpfd.sock", o->run_dir) < 0) {
		path = NULL;
		return err_set(err, ENOMEM, NULL, "out of memory");
	}
	r = api_server_new(&(struct api_server_config){.event = d->event,
						       .path = path,
						       .mode = o->socket_mode,
						       .group = o->group,
						       .methods = api_methods,
						       .env = &d->env,
						       .deferred_us = DEFERRED_US},
			   &d->server, err);
	if (r < 0)
		return r;
	r = model_listen(d->model, api_on_model_event, d->server);
	return r < 0 ? err_set(err, -r, NULL, "out of memory") : 0;
}

static void daemon_free(struct daemon *d)
{
	if (d->model)
		model_cancel(d->model);
	pf_qemu_free(d->qemu); /* ends deferred API calls, and so does the next */
	moves_free(d->moves);
	control_free(d->control);
	dataplane_free(d->dp); /* reports to the model, and so to subscribers */
	model_free(d->model);
	api_server_free(d->server);
	sd_event_unref(d->event);
}

static void tell_ready(const struct daemon *d)
{
	unsigned int fabrics = 0, pfs = 0, functions = 0;
	const struct model_pf *pf;
	char what[96];

	while (model_fabric_at(d->model, fabrics))
		fabrics++;
	for (; (pf = model_pf_at(d->model, pfs)); pfs++)
		functions += pf->s.vfs + 1;
	snprintf(what, sizeof(what), "%u fabric%s, %u virtual PF%s, %u function%s", fabrics,
		 fabrics == 1 ? "" : "s", pfs, pfs == 1 ? "" : "s", functions, functions == 1 ? "" : "s");
	log_notice("vpfd " VPF_VERSION " is ready: %s", what);
	sd_notifyf(0, "READY=1\nSTATUS=%s at the start", what);
}

int main(int argc, char *argv[])
{
	struct daemon d = {0};
	struct options options;
	struct err err = {0};
	int r, code = 0;

	r = options_parse(argc, argv, &options, &err);
	if (r > 0)
		return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
	if (r < 0) {
		fprintf(stderr, "vpfd: %s%s%s\n", err.field, err.field[0] ? ": " : "", err.text);
		return 2;
	}
	log_set_level(options.log_level);
	raise_fd_limit();

	r = daemon_start(&d, &options, &err);
	if (r == -ECANCELED && sd_event_get_exit_code(d.event, &code) >= 0) {
		daemon_free(&d); /* a signal, while fabrics were waited for */
		return code;
	}
	if (r < 0) {
		log_error("cannot start: %s%s%s", err.field, err.field[0] ? ": " : "", err.text);
		sd_notifyf(0, "ERRNO=%d\nSTATUS=cannot start: %s", -r, err.text);
		daemon_free(&d);
		return EXIT_FAILURE;
	}
	tell_ready(&d);
	r = sd_event_loop(d.event);
	if (r < 0)
		log_error("the main loop failed: %s", strerror(-r));
	sd_notify(0, "STOPPING=1\nSTATUS=stopping");
	daemon_free(&d);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
