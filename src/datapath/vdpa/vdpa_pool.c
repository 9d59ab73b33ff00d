/* SPDX-License-Identifier: Apache-2.0 */

#include "datapath/vdpa/vdpa_pool.h"

#include <dirent.h>
#include <fnmatch.h>
#include <linux/virtio_ids.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define DRIVER    "vhost_vdpa"
#define NAMES_MAX 256 /* VDUSE devices that are considered */

/* -- which function has which device */

struct user {
	struct user *next;
	char name[VDPA_NAME_MAX];
	char pf[VPF_NAME_MAX];
	unsigned int fn;
};

static pthread_mutex_t users_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct user *users;

static bool reserve(const char *name, const struct vdpa_request *req)
{
	struct user *u = calloc(1, sizeof(*u));
	bool free_one = u != NULL;

	if (!u)
		return false;
	snprintf(u->name, sizeof(u->name), "%s", name);
	snprintf(u->pf, sizeof(u->pf), "%s", req->pf);
	u->fn = req->fn;
	pthread_mutex_lock(&users_mutex);
	for (const struct user *o = users; o && free_one; o = o->next)
		free_one = strcmp(o->name, name) != 0;
	if (free_one) {
		u->next = users;
		users = u;
	}
	pthread_mutex_unlock(&users_mutex);
	if (!free_one)
		free(u);
	return free_one;
}

static void unreserve(const char *name)
{
	struct user *found = NULL;

	pthread_mutex_lock(&users_mutex);
	for (struct user **u = &users; *u; u = &(*u)->next)
		if (strcmp((*u)->name, name) == 0) {
			found = *u;
			*u = found->next;
			break;
		}
	pthread_mutex_unlock(&users_mutex);
	free(found);
}

bool vdpa_pool_user(const char *name, char ret_pf[VPF_NAME_MAX], unsigned int *ret_fn)
{
	bool found = false;

	pthread_mutex_lock(&users_mutex);
	for (const struct user *u = users; u && !found; u = u->next)
		if (strcmp(u->name, name) == 0) {
			found = true;
			snprintf(ret_pf, VPF_NAME_MAX, "%s", u->pf);
			*ret_fn = u->fn;
		}
	pthread_mutex_unlock(&users_mutex);
	return found;
}

/* -- a device's entries in sysfs */

static int write_file(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

void vdpa_pool_driver(const char *name, char ret[64])
{
	char path[256], target[256];
	ssize_t n;

	ret[0] = '\0';
	snprintf(path, sizeof(path), "%s/bus/vdpa/devices/%s/driver", vdpa_sys->sysfs, name);
	n = readlink(path, target, sizeof(target) - 1);
	if (n > 0) {
		const char *slash;

		target[n] = '\0';
		slash = strrchr(target, '/');
		snprintf(ret, 64, "%.63s", slash ? slash + 1 : target);
	}
}

static bool exists(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/bus/vdpa/devices/%s", vdpa_sys->sysfs, name);
	return access(path, F_OK) == 0;
}

/* VDUSE devices are below a class of that name. */
static bool is_vduse(const char *name)
{
	char path[256], target[256];
	ssize_t n;

	snprintf(path, sizeof(path), "%s/bus/vdpa/devices/%s", vdpa_sys->sysfs, name);
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return false;
	target[n] = '\0';
	return strstr(target, "/vduse/") != NULL;
}

static int bind_driver(const char *name, struct vdpa_lease *lease, struct err *err)
{
	char driver[64], path[256];
	int r;

	snprintf(path, sizeof(path), "%s/bus/vdpa/drivers/" DRIVER, vdpa_sys->sysfs);
	if (access(path, F_OK) != 0)
		return err_set(err, ENOENT, NULL, "kernel module " DRIVER " is not loaded");
	vdpa_pool_driver(name, driver);
	if (strcmp(driver, DRIVER) == 0)
		return 0;
	if (*driver && !lease->created)
		return err_set(err, EBUSY, NULL, "vDPA device %s is on driver %s", name, driver);
	if (*driver) {
		snprintf(path, sizeof(path), "%s/bus/vdpa/drivers/%s/unbind", vdpa_sys->sysfs, driver);
		write_file(path, name); /* if that fails, bind fails as well */
	}
	snprintf(path, sizeof(path), "%s/bus/vdpa/devices/%s/driver_override", vdpa_sys->sysfs, name);
	r = write_file(path, DRIVER);
	/* Without it the driver binds what is on none all the same: kernels before 5.18 have no override, and
	 * a sandbox may have made it read-only. */
	if (r >= 0 || r == -ENOENT || r == -EROFS) {
		snprintf(path, sizeof(path), "%s/bus/vdpa/drivers/" DRIVER "/bind", vdpa_sys->sysfs);
		r = write_file(path, name);
	}
	if (r < 0)
		return err_set(err, -r, NULL, "cannot bind vDPA device %s to " DRIVER ": %s", name,
			       strerror(-r));
	lease->bound = true;
	return 0;
}

static void unbind_driver(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/bus/vdpa/drivers/" DRIVER "/unbind", vdpa_sys->sysfs);
	write_file(path, name);
	snprintf(path, sizeof(path), "%s/bus/vdpa/devices/%s/driver_override", vdpa_sys->sysfs, name);
	write_file(path, "\n");
}

static int find_node(const char *name, char ret[128], struct err *err)
{
	char path[256];
	const struct dirent *e;
	DIR *dir;
	int r = -ENOENT;

	snprintf(path, sizeof(path), "%s/bus/vdpa/devices/%s", vdpa_sys->sysfs, name);
	dir = opendir(path);
	while (dir && r < 0 && (e = readdir(dir)))
		if (strncmp(e->d_name, "vhost-vdpa-", 11) == 0 && strlen(e->d_name) < 32) {
			snprintf(ret, 128, "%s/%s", vdpa_sys->dev, e->d_name);
			r = 0;
		}
	if (dir)
		closedir(dir);
	if (r < 0)
		return err_set(err, -r, NULL, "vDPA device %s has no vhost-vdpa node", name);
	return 0;
}

/* Binds and opens it, and checks whether it is suitable. What was bound is unbound again on failure. */
static int take(struct vdpa_lease *lease, vdpa_try_fn *try, void *arg, struct err *err)
{
	int r = bind_driver(lease->name, lease, err);

	lease->fd = -1;
	if (r >= 0)
		r = find_node(lease->name, lease->node, err);
	if (r >= 0) {
		lease->vduse = is_vduse(lease->name);
		lease->fd = vdpa_sys->open(lease->node);
		if (lease->fd < 0) {
			r = lease->fd;
			if (r == -EBUSY)
				err_set(err, EBUSY, NULL, "vDPA device %s is in use by another program",
					lease->name);
			else
				err_set(err, -r, NULL, "cannot open %s: %s", lease->node, strerror(-r));
		}
	}
	if (r >= 0)
		r = try(arg, lease, err);
	if (r < 0) {
		if (lease->fd >= 0)
			vdpa_sys->close(lease->fd);
		lease->fd = -1;
		if (lease->bound && !lease->created)
			unbind_driver(lease->name);
		lease->bound = false;
	}
	return r;
}

/* -- candidates */

static int by_name(const void *a, const void *b)
{
	return strverscmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted names in a directory that match; the caller frees each and the array. */
static int names_in(const char *path, const char *glob, char ***ret)
{
	char **names = calloc(NAMES_MAX, sizeof(*names));
	DIR *dir = names ? opendir(path) : NULL;
	const struct dirent *e;
	int n = 0;

	while (dir && n < NAMES_MAX && (e = readdir(dir)))
		if (e->d_name[0] != '.' && strlen(e->d_name) < VDPA_NAME_MAX &&
		    fnmatch(glob, e->d_name, 0) == 0 && (names[n] = strdup(e->d_name)))
			n++;
	if (dir)
		closedir(dir);
	if (names)
		qsort(names, (size_t)n, sizeof(*names), by_name);
	*ret = names;
	return n;
}

static void names_free(char **names, int n)
{
	for (int i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

struct search {
	const struct vdpa_request *req;
	vdpa_try_fn *try;
	void *arg;
	struct vdpa_lease *ret;
	struct err *err;         /* why the last one was not suitable */
	unsigned int seen, busy; /* candidates, and those of them that are in use */
	int failed;              /* errno of `err`, 0: none that is more than busy */
};

/* True: *ret has been acquired. */
static bool try_one(struct search *s, const char *name, bool created)
{
	struct vdpa_lease lease = {.fd = -1, .created = created};
	struct err why = {0};
	int r;

	s->seen++;
	if (!reserve(name, s->req)) {
		s->busy++;
		return false;
	}
	snprintf(lease.name, sizeof(lease.name), "%s", name);
	r = take(&lease, s->try, s->arg, &why);
	if (r >= 0) {
		*s->ret = lease;
		return true;
	}
	unreserve(name);
	if (r == -EBUSY)
		s->busy++;
	if (r != -EBUSY || !s->failed) {
		s->failed = r == -EBUSY ? s->failed : r;
		*s->err = why;
	}
	return false;
}

static bool search_existing(struct search *s)
{
	char path[256], **names;
	bool found = false;
	int n;

	if (!*s->req->wish.device)
		return false;
	snprintf(path, sizeof(path), "%s/bus/vdpa/devices", vdpa_sys->sysfs);
	n = names_in(path, s->req->wish.device, &names);
	for (int i = 0; i < n && !found; i++)
		found = try_one(s, names[i], false);
	names_free(names, n);
	return found;
}

/* Management devices differ in which attributes of a device can be chosen: ever fewer are requested until one set is
 * accepted. A device created without a MAC still gets the function's, through its control queue or because it passes
 * everything. */
static int create(const struct vdpa_request *req, const char *name, const char *mgmtdev, struct err *err)
{
	struct vdpa_new what = {.mtu = req->mtu, .pairs = req->pairs > 1 ? req->pairs : 0};
	int r;

	snprintf(what.name, sizeof(what.name), "%s", name);
	snprintf(what.mgmtdev, sizeof(what.mgmtdev), "%s", mgmtdev);
	if (strcmp(mgmtdev, "vduse") == 0) /* its devices come as they are */
		what.mtu = what.pairs = 0;
	else
		memcpy(what.mac, req->mac, sizeof(what.mac));
	for (;;) {
		r = vdpa_sys->dev_new(&what, err);
		if (r != -EOPNOTSUPP)
			return r;
		if (what.mtu)
			what.mtu = 0;
		else if (what.pairs)
			what.pairs = 0;
		else if (!mac_is_zero(what.mac))
			memset(what.mac, 0, sizeof(what.mac));
		else
			return r;
	}
}

static bool create_one(struct search *s, const char *name, const char *mgmtdev)
{
	struct err why = {0};
	int r = create(s->req, name, mgmtdev, &why);

	if (r < 0) {
		s->seen++;
		s->failed = r;
		*s->err = why;
		return false;
	}
	if (try_one(s, name, true))
		return true;
	vdpa_sys->dev_del(name, NULL);
	return false;
}

/* VDUSE devices: those not attached yet, and those that an earlier vpfd attached. */
static bool search_vduse(struct search *s)
{
	char path[256], **names;
	bool found = false;
	int n;

	snprintf(path, sizeof(path), "%s/vduse", vdpa_sys->dev);
	n = names_in(path, "*", &names);
	for (int i = 0; i < n && !found; i++) {
		char pf[VPF_NAME_MAX];
		unsigned int fn;

		if (strcmp(names[i], "control") == 0)
			continue;
		if (exists(names[i]))
			found = try_one(s, names[i], false);
		else if (!vdpa_pool_user(names[i], pf, &fn))
			found = create_one(s, names[i], "vduse");
	}
	names_free(names, n);
	return found;
}

static bool search_mgmtdev(struct search *s)
{
	struct vdpa_netlink_list list = {0};
	char name[VDPA_NAME_MAX];
	bool found = false;
	int r;

	if (!*s->req->wish.mgmtdev)
		return false;
	r = vdpa_sys->list(&list);
	if (r < 0) {
		if (!s->failed)
			s->failed = err_set(s->err, -r, NULL, "cannot list vDPA management devices: %s",
					    r == -ENOENT ? "the kernel has no vDPA" : strerror(-r));
		return false;
	}
	if (s->req->fn == VPF_FUNCTION_PF)
		snprintf(name, sizeof(name), "vpf-%s-pf", s->req->pf);
	else
		snprintf(name, sizeof(name), "vpf-%s-%u", s->req->pf, s->req->fn - 1);
	for (unsigned int i = 0; i < list.n_mgmtdev && !found; i++) {
		const struct vdpa_mgmtdev *m = &list.mgmtdev[i];

		if (!(m->classes >> VIRTIO_ID_NET & 1) || fnmatch(s->req->wish.mgmtdev, m->name, 0) != 0)
			continue;
		if (strcmp(m->name, "vduse") == 0) {
			found = search_vduse(s);
			continue;
		}
		/* One of this name is from a vpfd that was killed: its settings may differ. */
		if (exists(name))
			vdpa_sys->dev_del(name, NULL);
		found = create_one(s, name, m->name);
	}
	vdpa_list_free(&list);
	return found;
}

int vdpa_pool_acquire(const struct vdpa_request *req, vdpa_try_fn *try, void *arg, struct vdpa_lease *ret,
		      struct err *err)
{
	struct err why = {0};
	struct search s = {.req = req, .try = try, .arg = arg, .ret = ret, .err = &why};

	if (search_existing(&s) || search_mgmtdev(&s))
		return 0;
	if (s.failed) {
		if (err)
			*err = why;
		return s.failed;
	}
	if (s.busy == 1 && why.code)
		return err_set(err, EBUSY, NULL, "%s", why.text);
	if (s.busy)
		return err_set(err, EBUSY, NULL,
			       s.busy == 1 ? "the only matching vDPA device is in use"
					   : "all %u matching vDPA devices are in use",
			       s.busy);
	return err_set(err, ENODEV, NULL, "there is no vDPA device %s%s%s%s%s",
		       *req->wish.device ? "that matches " : "", req->wish.device,
		       *req->wish.device && *req->wish.mgmtdev ? ", nor one " : "",
		       *req->wish.mgmtdev ? "that can be created on management device " : "",
		       req->wish.mgmtdev);
}

void vdpa_pool_release(struct vdpa_lease *lease)
{
	if (lease->fd >= 0)
		vdpa_sys->close(lease->fd);
	lease->fd = -1;
	if (lease->created)
		vdpa_sys->dev_del(lease->name, NULL);
	else if (lease->bound)
		unbind_driver(lease->name);
	unreserve(lease->name);
}

/* -- a look without waiting */

#define SNAPSHOT_MS 300

static struct {
	pthread_mutex_t mutex;
	pthread_cond_t cond; /* a query has ended */
	bool looking, known;
	bool keep;  /* one query is enough for now, … */
	bool fresh; /* … and was made */
	struct vdpa_netlink_list list;
	int result;
} snapshot = {.mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

static void *look(void *arg)
{
	struct vdpa_netlink_list list = {0};
	int r = vdpa_sys->list(&list);

	(void)arg;
	pthread_mutex_lock(&snapshot.mutex);
	vdpa_list_free(&snapshot.list);
	snapshot.list = list;
	snapshot.result = r;
	snapshot.known = true;
	snapshot.looking = false;
	pthread_cond_broadcast(&snapshot.cond);
	pthread_mutex_unlock(&snapshot.mutex);
	return NULL;
}

static int copy_list(const struct vdpa_netlink_list *from, struct vdpa_netlink_list *ret)
{
	struct vdpa_netlink_list to = {0};

	to.mgmtdev = calloc(from->n_mgmtdev + 1, sizeof(*to.mgmtdev));
	to.dev = calloc(from->n_dev + 1, sizeof(*to.dev));
	if (!to.mgmtdev || !to.dev) {
		vdpa_list_free(&to);
		return -ENOMEM;
	}
	to.n_mgmtdev = from->n_mgmtdev;
	to.n_dev = from->n_dev;
	if (to.n_mgmtdev)
		memcpy(to.mgmtdev, from->mgmtdev, to.n_mgmtdev * sizeof(*to.mgmtdev));
	if (to.n_dev)
		memcpy(to.dev, from->dev, to.n_dev * sizeof(*to.dev));
	*ret = to;
	return 0;
}

int vdpa_pool_snapshot(struct vdpa_netlink_list *ret)
{
	struct timespec until;
	pthread_t thread;
	int r = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += SNAPSHOT_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	pthread_mutex_lock(&snapshot.mutex);
	if (snapshot.keep && snapshot.fresh) {
		r = snapshot.looking ? -ETIMEDOUT : 0; /* it has been waited for once */
	} else if (!snapshot.looking) {
		r = -pthread_create(&thread, NULL, look, NULL);
		snapshot.looking = r == 0;
		if (r == 0)
			pthread_detach(thread);
	}
	while (snapshot.looking && r == 0)
		r = -pthread_cond_timedwait(&snapshot.cond, &snapshot.mutex, &until);
	snapshot.fresh = snapshot.keep;
	if (snapshot.known && (r == 0 || r == -ETIMEDOUT))
		r = snapshot.result < 0 ? snapshot.result : copy_list(&snapshot.list, ret);
	pthread_mutex_unlock(&snapshot.mutex);
	return r;
}

void vdpa_pool_remember(bool on)
{
	pthread_mutex_lock(&snapshot.mutex);
	snapshot.keep = on;
	if (!on)
		snapshot.fresh = false;
	pthread_mutex_unlock(&snapshot.mutex);
}
