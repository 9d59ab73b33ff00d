/* SPDX-License-Identifier: Apache-2.0 */

#include "daemon/options.h"

#include <getopt.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "vhost/guest_fs.h"

static const char usage[] =
	"Usage: vpfd [OPTION]...\n"
	"Serve virtual PFs: the NIC side of SR-IOV devices that QEMU emulates. Runs in the foreground.\n"
	"\n"
	"  --run-dir DIR      sockets: DIR/vpfd.sock for vpfctl, DIR/PF/… for QEMU\n"
	"                     (default $RUNTIME_DIRECTORY or /run/vpf)\n"
	"  --state-dir DIR    state kept across restarts (default $STATE_DIRECTORY or /var/lib/vpf)\n"
	"  --workers N        threads that move packets, 1 to 64 (default 1)\n"
	"  --cpus LIST        pin the workers to these CPUs, such as 2,4-7; one each, in turn\n"
	"  --poll-us N        longest time in microseconds that a worker keeps polling idle queues,\n"
	"                     0 to 1000000 (default 50)\n"
	"  --group NAME       group of the sockets, by name or number (default: vpfd's own)\n"
	"  --socket-mode MODE permission bits of the sockets, octal (default 0660)\n"
	"  --memory-fs LIST   file systems that guest memory may be on besides tmpfs and hugetlbfs,\n"
	"                     such as ext4,xfs (default: no others)\n"
	"  --log-level LEVEL  error, warning, notice, info or debug (default info)\n"
	"  --version          print the version and exit\n"
	"  --help             print this and exit\n"
	"\n"
	"Signals: TERM and INT stop it; this closes QEMU's connections, and QEMU reconnects to the next vpfd.\n"
	"Exit status: 0 after a signal, 1 if it cannot start or continue, 2 on a usage error.\n";

enum {
	OPT_RUN_DIR = 256,
	OPT_STATE_DIR,
	OPT_WORKERS,
	OPT_CPUS,
	OPT_POLL_US,
	OPT_GROUP,
	OPT_MODE,
	OPT_MEMORY_FS,
	OPT_LOG,
	OPT_VERSION
};

static const struct option long_options[] = {
	{"run-dir", required_argument, NULL, OPT_RUN_DIR},
	{"state-dir", required_argument, NULL, OPT_STATE_DIR},
	{"workers", required_argument, NULL, OPT_WORKERS},
	{"cpus", required_argument, NULL, OPT_CPUS},
	{"poll-us", required_argument, NULL, OPT_POLL_US},
	{"group", required_argument, NULL, OPT_GROUP},
	{"socket-mode", required_argument, NULL, OPT_MODE},
	{"memory-fs", required_argument, NULL, OPT_MEMORY_FS},
	{"log-level", required_argument, NULL, OPT_LOG},
	{"version", no_argument, NULL, OPT_VERSION},
	{"help", no_argument, NULL, 'h'},
	{0},
};

static int parse_number(const char *text, const char *option, unsigned int base, unsigned long min,
			unsigned long max, unsigned int *ret, struct err *err)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, (int)base);
	if (*text < '0' || *text > '9' || *end || errno || n < min || n > max)
		return err_set(err, EINVAL, option,
			       base == 8 ? "must be an octal number from %lo to %lo, not %.40s"
					 : "must be a number from %lu to %lu, not %.40s",
			       min, max, text);
	*ret = (unsigned int)n;
	return 0;
}

/* "2,4-7"; the workers take them in turn. */
static int parse_cpus(const char *text, int *cpus, unsigned int *ret_n, struct err *err)
{
	unsigned int n = 0;
	const char *p = text;

	for (;;) {
		unsigned long first, last;
		char *end;

		if (*p < '0' || *p > '9')
			goto bad;
		first = last = strtoul(p, &end, 10);
		if (*end == '-') {
			p = end + 1;
			if (*p < '0' || *p > '9')
				goto bad;
			last = strtoul(p, &end, 10);
		}
		if (last < first || last >= CPU_SETSIZE)
			goto bad;
		for (unsigned long cpu = first; cpu <= last; cpu++) {
			if (n == OPTIONS_WORKERS_MAX)
				return err_set(err, EINVAL, "--cpus", "names more than %d CPUs",
					       OPTIONS_WORKERS_MAX);
			cpus[n++] = (int)cpu;
		}
		if (!*end)
			break;
		if (*end != ',')
			goto bad;
		p = end + 1;
	}
	*ret_n = n;
	return 0;
bad:
	return err_set(err, EINVAL, "--cpus", "must be CPU numbers and ranges such as 2,4-7, not %.40s",
		       text);
}

static int parse_group(const char *text, gid_t *ret, struct err *err)
{
	const struct group *group = getgrnam(text);
	unsigned int number = 0; /* gcc -O3 does not follow parse_number() */

	if (group) {
		*ret = group->gr_gid;
		return 0;
	}
	if (*text < '0' || *text > '9')
		return err_set(err, EINVAL, "--group", "there is no group %.40s", text);
	if (parse_number(text, "--group", 10, 0, UINT32_MAX - 1UL, &number, err) < 0)
		return -EINVAL;
	*ret = number;
	return 0;
}

static int parse_level(const char *text, enum log_level *ret, struct err *err)
{
	static const char *const names[] = {
		[LOG_LVL_ERR] = "error", [LOG_LVL_WARNING] = "warning", [LOG_LVL_NOTICE] = "notice",
		[LOG_LVL_INFO] = "info", [LOG_LVL_DEBUG] = "debug",
	};

	for (unsigned int i = LOG_LVL_ERR; i < ARRAY_SIZE(names); i++)
		if (!strcmp(text, names[i])) {
			*ret = (enum log_level)i;
			return 0;
		}
	return err_set(err, EINVAL, "--log-level", "must be error, warning, notice, info or debug, not %.40s",
		       text);
}

/* For a unit with several directories systemd gives a list; the first one is ours. */
static const char *first_directory(char *list, const char *fallback)
{
	if (!list || !*list)
		return fallback;
	list[strcspn(list, ":")] = '\0';
	return list;
}

/* The daemon has one such list, and it is kept where it is looked at. */
static int parse_file_systems(const char *text, struct err *err)
{
	_cleanup_free_ char *list = strdup(text);
	char *save = NULL;

	if (!list)
		return err_set(err, ENOMEM, NULL, "out of memory");
	for (const char *name = strtok_r(list, ",", &save); name; name = strtok_r(NULL, ",", &save))
		if (guest_fs_allow(name) < 0)
			return err_set(
				err, EINVAL, "--memory-fs",
				"must be file systems such as ext4,xfs, or numbers of types (0x…, from stat -f -c %%t FILE), not %.40s",
				name);
	return 0;
}

static int parse_one(int c, const char *arg, struct options *o, int *cpus, unsigned int *cpus_n,
		     struct err *err)
{
	switch (c) {
	case OPT_RUN_DIR:
	case OPT_STATE_DIR:
		if (!*arg)
			return err_set(err, EINVAL, c == OPT_RUN_DIR ? "--run-dir" : "--state-dir",
				       "must not be empty");
		*(c == OPT_RUN_DIR ? &o->run_dir : &o->state_dir) = arg;
		return 0;
	case OPT_WORKERS:
		return parse_number(arg, "--workers", 10, 1, OPTIONS_WORKERS_MAX, &o->workers, err);
	case OPT_CPUS:
		return parse_cpus(arg, cpus, cpus_n, err);
	case OPT_POLL_US:
		return parse_number(arg, "--poll-us", 10, 0, 1000000, &o->poll_us, err);
	case OPT_GROUP:
		return parse_group(arg, &o->group, err);
	case OPT_MODE:
		return parse_number(arg, "--socket-mode", 8, 0, 0777, &o->socket_mode, err);
	case OPT_MEMORY_FS:
		return parse_file_systems(arg, err);
	case OPT_LOG:
		return parse_level(arg, &o->log_level, err);
	default:
		/* getopt has printed what is wrong. */
		return err_set(err, EINVAL, NULL, "see vpfd --help");
	}
}

int options_parse(int argc, char *argv[], struct options *ret, struct err *err)
{
	struct options o = {
		.run_dir = first_directory(getenv("RUNTIME_DIRECTORY"), "/run/vpf"),
		.state_dir = first_directory(getenv("STATE_DIRECTORY"), "/var/lib/vpf"),
		.workers = 1,
		.poll_us = 50,
		.socket_mode = 0660,
		.group = (gid_t)-1,
		.log_level = LOG_LVL_INFO,
	};
	int cpus[OPTIONS_WORKERS_MAX], c, r;
	unsigned int cpus_n = 0;

	while ((c = getopt_long(argc, argv, "h", long_options, NULL)) >= 0) {
		if (c == 'h' || c == OPT_VERSION) {
			fputs(c == 'h' ? usage : "vpfd " VPF_VERSION "\n", stdout);
			return 1;
		}
		r = parse_one(c, optarg, &o, cpus, &cpus_n, err);
		if (r < 0)
			return r;
	}
	if (optind < argc)
		return err_set(err, EINVAL, NULL, "%.40s is not an option; see vpfd --help", argv[optind]);
	for (unsigned int i = 0; i < OPTIONS_WORKERS_MAX; i++)
		o.cpus[i] = cpus_n ? cpus[i % cpus_n] : -1;
	*ret = o;
	return 0;
}
