/* SPDX-License-Identifier: Apache-2.0 */

/* What the guest asks of the model, what the policy does to its functions, and the VMs' keys. The policy's
 * own rules have test_policy.c. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model_env.h"
#include "settings/mac.h"
#include "settings_same.h"
#include "vpf/control.h"

static unsigned int counted(const struct me_env *t)
{
	const struct model_pf *pf = model_pf_find(t->model, "pf0");

	return (unsigned int)(100 * pf->granted + pf->refused);
}

static struct pf_policy *policy(struct pf_settings *s, const struct me_env *t)
{
	*s = model_pf_find(t->model, "pf0")->s;
	return &s->policy;
}

static void populate(struct me_env *t)
{
	struct pf_settings s;

	me_add_fabric(t, "f0", NULL);
	me_add_pf(t, "pf0", "f0", 4, "02:00:00:00:01:00");
	policy(&s, t)->vlans[0] = 0xf0; /* 4 to 7 */
	assert_int_equal(model_pf_set(t->model, &s, NULL, NULL, NULL), 0);
	t->events_n = 0;
	t->dp.function_sets = 0;
}

static const struct function_settings vlan5 = {
	.vlan = {.mode = VLAN_ACCESS, .vid = 5, .pcp = 1, .tpid = 0x8100}};

static void granted(void **state)
{
	struct me_env *t = *state;
	struct function_settings before, after;

	populate(t);
	before = me_settings_of(t, "pf0", 1);
	assert_int_equal(model_function_request(t->model, "pf0", 1, SETTING_VLAN, &vlan5, NULL, NULL), 0);
	after = me_settings_of(t, "pf0", 1);
	assert_same_vlan(&after.vlan, &vlan5.vlan);
	/* Nothing but what the mask names. */
	before.vlan = after.vlan;
	assert_same_function(&before, &after);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 1)->s.vlan.vid, 5);
	assert_int_equal(t->events_n, 2);
	assert_string_equal(t->events[0], "function changed pf0 1");
	assert_string_equal(t->events[1], "control granted pf0 1");
	assert_string_equal(t->details[1],
			    "{\"requested\":{\"vlan\":{\"mode\":\"access\",\"vid\":5,\"pcp\":1,"
			    "\"proto\":\"802.1q\"}}}");
	assert_int_equal(counted(t), 100);

	/* Once more: granted, with nothing to do. */
	assert_int_equal(model_function_request(t->model, "pf0", 1, SETTING_VLAN, &vlan5, NULL, NULL), 0);
	assert_int_equal(t->events_n, 2);
	assert_int_equal(t->dp.function_sets, 1);
	assert_int_equal(counted(t), 200);

	me_restart(t);
	assert_int_equal(me_settings_of(t, "pf0", 1).vlan.vid, 5);
	assert_int_equal(counted(t), 0);
}

/* All or nothing. */
static void several(void **state)
{
	struct me_env *t = *state;
	struct function_settings s = vlan5;

	populate(t);
	s.max_rate = 100;
	s.link = LINK_ENABLE;
	s.trust = true;
	assert_error(
		model_function_request(t->model, "pf0", 1, SETTING_ALL & ~SETTING_SPOOFCHK, &s, NULL, &err),
		EPERM, "policy.trust");
	assert_int_equal(t->dp.function_sets, 0);
	assert_int_equal(me_settings_of(t, "pf0", 1).max_rate, 0);
	assert_int_equal(model_function_request(t->model, "pf0", 1,
						SETTING_VLAN | SETTING_RATE | SETTING_LINK, &s, NULL, NULL),
			 0);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 1)->s.max_rate, 100);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 1)->s.link, LINK_ENABLE);
	assert_false(fake_dp_function(&t->dp, "pf0", 1)->s.trust);
	assert_int_equal(counted(t), 101);
}

static void refused(void **state)
{
	struct me_env *t = *state;
	struct function_settings s = vlan5;
	struct pf_settings p;

	populate(t);
#define REFUSED(function, mask, code, field)                                                                 \
	assert_error(model_function_request(t->model, "pf0", function, mask, &s, NULL, &err), code, field)
	s.vlan.vid = 8;
	REFUSED(2, SETTING_VLAN, EPERM, "policy.vlans");
	assert_int_equal(t->events_n, 1);
	assert_string_equal(me_last_event(t), "control refused pf0 2");
	assert_string_equal(t->details[0],
			    "{\"requested\":{\"vlan\":{\"mode\":\"access\",\"vid\":8,\"pcp\":1,"
			    "\"proto\":\"802.1q\"}},\"rule\":\"policy.vlans\"}");
	s.vlan.vid = 4095;
	REFUSED(2, SETTING_VLAN, EINVAL, "vlan.vid");
	s.admin_mac[0] = 1;
	REFUSED(2, SETTING_MAC, EINVAL, "mac");
	s.link = (enum link_mode)7;
	REFUSED(2, SETTING_LINK, EINVAL, "link");
	REFUSED(2, 0, EINVAL, "mask");
	REFUSED(2, SETTING_ALL + 1, EINVAL, "mask");
	REFUSED(0, SETTING_TRUST, EINVAL, "vf");
	assert_string_equal(me_last_event(t), "control refused pf0 0");
	REFUSED(5, SETTING_TRUST, ENOENT, "vf");
	assert_string_equal(me_last_event(t), "control refused pf0 -1");
	/* The MAC is another function's. Whose, it is not told. */
	mac_parse("02:00:00:00:01:03", s.admin_mac);
	REFUSED(2, SETTING_MAC, EEXIST, "mac");
	assert_int_equal(counted(t), 9);
	assert_int_equal(t->events_n, 9);
	assert_int_equal(t->dp.function_sets, 0);
	assert_error(model_function_request(t->model, "pf1", 1, SETTING_TRUST, &s, NULL, &err), ENOENT, "pf");

	/* The host may do all that the guest may not, and what it has set the guest may ask for again. */
	s = me_settings_of(t, "pf0", 2);
	s.trust = true;
	s.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = 99, .tpid = 0x88a8};
	s.pinned = SETTING_LINK;
	assert_int_equal(model_function_set(t->model, "pf0", 2, &s, false, NULL, NULL), 0);
	assert_int_equal(
		model_function_request(t->model, "pf0", 2, SETTING_TRUST | SETTING_VLAN, &s, NULL, NULL), 0);
	s.link = LINK_DISABLE;
	REFUSED(2, SETTING_LINK, EPERM, "pinned");

	/* A stricter policy takes nothing away. */
	policy(&p, t)->guest_control = false;
	assert_int_equal(model_pf_set(t->model, &p, NULL, NULL, NULL), 0);
	assert_true(me_settings_of(t, "pf0", 2).trust);
	REFUSED(2, SETTING_TRUST, EPERM, "policy.guest_control");
	assert_int_equal(counted(t), 111);
#undef REFUSED
}

/* A request that cannot be saved changes nothing, and is neither granted nor refused. */
static void disk_full(void **state)
{
	struct me_env *t = *state;
	int code;

	populate(t);
	code = scratch_fill(&t->scratch);
	assert_error(model_function_request(t->model, "pf0", 1, SETTING_VLAN, &vlan5, NULL, &err), code, "");
	scratch_empty(&t->scratch);
	assert_int_equal(me_settings_of(t, "pf0", 1).vlan.mode, VLAN_NONE);
	assert_int_equal(counted(t), 0);
	assert_int_equal(t->events_n, 0);
}

/* Every refusal is counted and told; not every one is in the log. */
static void flood(void **state)
{
	struct me_env *t = *state;
	struct function_settings s = {.trust = true};
	char path[256], *log;
	unsigned int lines = 0;
	int saved = dup(2), fd;

	populate(t);
	fd = open(scratch_path(&t->scratch, "log", path), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0 && saved >= 0 && dup2(fd, 2) == 2);
	close(fd);
	log_set_level(LOG_LVL_INFO);
	for (int i = 0; i < 1000; i++)
		model_function_request(t->model, "pf0", 1, SETTING_TRUST, &s, NULL, NULL);
	log_set_level((enum log_level)0);
	assert_int_equal(dup2(saved, 2), 2);
	close(saved);
	assert_int_equal(counted(t), 1000);
	log = scratch_read(path, NULL);
	assert_non_null(log);
	for (const char *p = log; (p = strstr(p, "refused to the guest: policy.trust")); p++)
		lines++;
	free(log);
	assert_in_range(lines, 1, 20);
}

static void effective(void **state)
{
	struct me_env *t = *state;
	struct function_settings s;
	struct pf_settings p;

	populate(t);
	s = me_settings_of(t, "pf0", 3);
	s.max_rate = 500;
	assert_int_equal(model_function_set(t->model, "pf0", 3, &s, false, NULL, NULL), 0);
	policy(&p, t)->max_vfs = 2;
	p.policy.max_rate = 200;
	assert_int_equal(model_pf_set(t->model, &p, NULL, NULL, NULL), 0);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 0)->s.link, LINK_AUTO);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 2)->s.link, LINK_AUTO);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 2)->s.max_rate, 200);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 3)->s.link, LINK_DISABLE);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 3)->s.max_rate, 200);
	/* What is set stays set, and comes back with the policy. */
	assert_int_equal(me_settings_of(t, "pf0", 3).max_rate, 500);
	assert_error(model_function_request(t->model, "pf0", 3, SETTING_LINK, &s, NULL, &err), EPERM,
		     "policy.max_vfs");
	me_restart(t);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 3)->s.link, LINK_DISABLE);
	policy(&p, t)->max_vfs = VPF_MAX_VFS;
	p.policy.max_rate = 0;
	assert_int_equal(model_pf_set(t->model, &p, NULL, NULL, NULL), 0);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 3)->s.link, LINK_AUTO);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 3)->s.max_rate, 500);
}

static void minimum_rates(void **state)
{
	struct me_env *t = *state;
	struct function_settings s;
	struct pf_settings p;

	populate(t);
	policy(&p, t)->max_rate_total = 1000;
	assert_int_equal(model_pf_set(t->model, &p, NULL, NULL, NULL), 0);
	for (unsigned int fn = 1; fn <= 2; fn++) {
		s = me_settings_of(t, "pf0", fn);
		s.min_rate = 400;
		assert_int_equal(model_function_set(t->model, "pf0", fn, &s, false, NULL, NULL), 0);
	}
	s = me_settings_of(t, "pf0", 3);
	s.min_rate = 201;
	assert_error(model_function_set(t->model, "pf0", 3, &s, false, NULL, &err), EINVAL, "min_rate");
	assert_error(model_function_request(t->model, "pf0", 3, SETTING_RATE, &s, NULL, &err), EPERM,
		     "policy.max_rate_total");
	s.min_rate = 200;
	assert_int_equal(model_function_request(t->model, "pf0", 3, SETTING_RATE, &s, NULL, NULL), 0);

	/* The total cannot go below what is promised. */
	policy(&p, t)->max_rate_total = 999;
	assert_error(model_pf_set(t->model, &p, NULL, NULL, &err), EINVAL, "policy.max_rate_total");
	p.policy.max_rate_total = 0;
	assert_error(model_pf_set(t->model, &p, NULL, NULL, &err), EINVAL, "policy.max_rate_total");
	s = me_settings_of(t, "pf0", 1);
	s.min_rate = 399;
	assert_int_equal(model_function_set(t->model, "pf0", 1, &s, false, NULL, NULL), 0);
	p.policy.max_rate_total = 999;
	assert_int_equal(model_pf_set(t->model, &p, NULL, NULL, NULL), 0);
}

/* Keys */

static void read_key(struct me_env *t, const char *pf, char ret[64])
{
	char path[108], *text;
	struct stat st;
	size_t size = 0;

	model_key_path(t->model, pf, path);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0640);
	text = scratch_read(path, &size);
	assert_non_null(text);
	assert_int_equal(size, strlen(VPF_CTL_SMBIOS_PREFIX) + 32);
	assert_memory_equal(text, VPF_CTL_SMBIOS_PREFIX, strlen(VPF_CTL_SMBIOS_PREFIX));
	for (size_t i = strlen(VPF_CTL_SMBIOS_PREFIX); i < size; i++)
		assert_non_null(memchr("0123456789abcdef", text[i], 16));
	memcpy(ret, text, size + 1);
	free(text);
}

static int try_vm(struct me_env *t, const char *pf, const char *vm, struct err *err)
{
	struct pf_settings s = model_pf_find(t->model, pf)->s;

	memset(s.vm, 0, sizeof(s.vm));
	strcpy(s.vm, vm);
	return model_pf_set(t->model, &s, NULL, NULL, err);
}

static void keys(void **state)
{
	struct me_env *t = *state;
	char a[64], b[64], old[64], path[108], tmp[256];
	struct pf_settings s;
	int code;

	me_add_fabric(t, "f0", NULL);
	me_add_pf(t, "a", "f0", 1, NULL);
	me_add_pf(t, "b", "f0", 1, NULL);
	read_key(t, "a", a);
	read_key(t, "b", b);
	assert_string_not_equal(a, b);
	assert_string_equal(model_pf_find(t->model, "a")->vm->name, "a");

	/* One VM, one key; the same after a restart. */
	s = me_pf_settings_of("c", "f0", 0);
	memset(s.vm, 0, sizeof(s.vm));
	strcpy(s.vm, "a");
	assert_int_equal(model_pf_add(t->model, &s, NULL, NULL, NULL), 0);
	read_key(t, "c", b);
	assert_string_equal(a, b);
	assert_ptr_equal(model_pf_find(t->model, "a")->vm, model_pf_find(t->model, "c")->vm);
	assert_int_equal(model_pf_find(t->model, "a")->vm->pfs, 2);
	me_restart(t);
	read_key(t, "a", b);
	assert_string_equal(a, b);
	read_key(t, "c", b);
	assert_string_equal(a, b);
	assert_int_equal(model_pf_find(t->model, "a")->vm->pfs, 2);

	/* A PF goes over to another VM. */
	fake_dp_function(&t->dp, "b", 1)->connected = true;
	assert_error(try_vm(t, "b", "a", &err), EBUSY, "vm");
	fake_dp_function(&t->dp, "b", 1)->connected = false;
	read_key(t, "b", old);
	code = scratch_fill(&t->scratch);
	assert_error(try_vm(t, "b", "a", &err), code, "");
	scratch_empty(&t->scratch);
	read_key(t, "b", b);
	assert_string_equal(b, old);
	assert_string_equal(model_pf_find(t->model, "b")->vm->name, "b");
	/* The state cannot be saved, though the key could. */
	assert_int_equal(mkdir(scratch_path(&t->scratch, "state/state.json.tmp", tmp), 0700), 0);
	assert_error(try_vm(t, "b", "a", &err), EISDIR, "");
	assert_int_equal(rmdir(tmp), 0);
	read_key(t, "b", b);
	assert_string_equal(b, old);
	assert_int_equal(model_pf_find(t->model, "a")->vm->pfs, 2);
	assert_int_equal(try_vm(t, "b", "a", NULL), 0);
	assert_int_equal(model_pf_find(t->model, "a")->vm->pfs, 3);
	read_key(t, "b", b);
	assert_string_equal(a, b);
	/* The VM that it has left is gone, and its key with it. */
	assert_int_equal(try_vm(t, "b", "b", NULL), 0);
	read_key(t, "b", b);
	assert_string_not_equal(b, old);
	assert_string_not_equal(b, a);

	/* The last PF takes the key along. */
	assert_int_equal(model_pf_del(t->model, "a", NULL), 0);
	assert_int_equal(access(model_key_path(t->model, "a", path), F_OK), -1);
	read_key(t, "c", b);
	assert_string_equal(a, b);
	assert_int_equal(model_pf_del(t->model, "c", NULL), 0);
	s = me_pf_settings_of("a", "f0", 0);
	assert_int_equal(model_pf_add(t->model, &s, NULL, NULL, NULL), 0);
	read_key(t, "a", b);
	assert_string_not_equal(a, b);
}

/* The key file is always a new one: no link is followed, and one that is open elsewhere stays as it is. */
static void key_file_in_the_way(void **state)
{
	struct me_env *t = *state;
	char path[256], victim[256], text[64];
	char *untouched;

	me_add_fabric(t, "f0", NULL);
	scratch_path(&t->scratch, "victim", victim);
	scratch_write(victim, "precious", 8);
	assert_int_equal(mkdir(scratch_path(&t->scratch, "pf0", path), 0755), 0);
	assert_int_equal(symlink(victim, scratch_path(&t->scratch, "pf0/vm.key", path)), 0);
	assert_int_equal(symlink(victim, scratch_path(&t->scratch, "pf0/vm.key.tmp", path)), 0);
	me_add_pf(t, "pf0", "f0", 1, NULL);
	read_key(t, "pf0", text);
	untouched = scratch_read(victim, NULL);
	assert_string_equal(untouched, "precious");
	free(untouched);
	/* Removed in an orderly end, made again at the next start. */
	me_stop(t);
	assert_int_equal(access(scratch_path(&t->scratch, "pf0", path), F_OK), -1);
	me_start(t);
	me_load(t);
	read_key(t, "pf0", text);
}

/* A directory that the administrator has prepared for QEMU's user, and modes of sockets. */
static void key_readers(void **state)
{
	struct me_env *t = *state;
	static const struct {
		unsigned int sockets, key;
	} modes[] = {{0660, 0640}, {0600, 0600}, {0666, 0640}, {0606, 0600}, {0777, 0640}};
	char dir[256], path[108];
	struct stat st;

	me_add_fabric(t, "f0", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		me_stop(t);
		t->socket_mode = modes[i].sockets;
		me_start(t);
		me_load(t);
		scratch_path(&t->scratch, "pf0", dir);
		assert_int_equal(mkdir(dir, 0700), 0);
		if (!geteuid())
			assert_int_equal(chown(dir, 1234, (gid_t)-1), 0);
		me_add_pf(t, "pf0", "f0", 0, NULL);
		assert_int_equal(lstat(model_key_path(t->model, "pf0", path), &st), 0);
		assert_int_equal(st.st_mode & 07777, modes[i].key);
		assert_int_equal(st.st_uid, geteuid() ? geteuid() : 1234);
		assert_int_equal(model_pf_del(t->model, "pf0", NULL), 0);
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, me_setup, me_teardown)
	const struct CMUnitTest tests[] = {
		TEST(granted),       TEST(several), TEST(refused),
		TEST(disk_full),     TEST(flood),   TEST(effective),
		TEST(minimum_rates), TEST(keys),    TEST(key_file_in_the_way),
		TEST(key_readers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
