/* SPDX-License-Identifier: Apache-2.0 */

/* The state file: either the old or the new state, and nothing that is not understood. */

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "fake_dataplane.h"
#include "model/model.h"
#include "model/state.h"
#include "scratch_dir.h"
#include "settings_same.h"

static struct scratch scratch;
static char dir[256], file[256];

/* Which fsync() fails: the next is 1. */
static unsigned int failing_fsync;
int __real_fsync(int fd);
int __wrap_fsync(int fd);

int __wrap_fsync(int fd)
{
	if (failing_fsync && --failing_fsync == 0) {
		errno = EIO;
		return -1;
	}
	return __real_fsync(fd);
}

static int setup(void **state)
{
	(void)state;
	scratch_make(&scratch);
	scratch_path(&scratch, "state", dir);
	scratch_path(&scratch, "state/state.json", file);
	log_set_level(LOG_LVL_ERR);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	scratch_remove(&scratch);
	return 0;
}

static struct state_store *open_store(void)
{
	struct state_store *store = NULL;

	assert_int_equal(state_store_open(dir, &store, NULL), 0);
	return store;
}

static json_t *example(int n)
{
	return json_pack("{s:s, s:i, s:i}", "format", STATE_FORMAT, "version", STATE_VERSION, "n", n);
}

static int save(struct state_store *store, const json_t *root, struct err *err)
{
	char *text = json_dumps(root, 0);
	int r = state_store_save(store, text, strlen(text), err);

	free(text);
	return r;
}

static void first_start(void **state)
{
	struct state_store *store = open_store();
	json_t *root = (json_t *)1;

	(void)state;
	assert_int_equal(state_store_load(store, &root, NULL), 0);
	assert_null(root);
	state_store_free(store);
}

static void save_and_load(void **state)
{
	struct state_store *store = open_store();
	json_t *root = example(1), *back = NULL;
	char tmp[256];

	(void)state;
	for (int i = 0; i < 3; i++) {
		json_object_set_new(root, "n", json_integer(i));
		assert_int_equal(save(store, root, NULL), 0);
		assert_int_equal(state_store_load(store, &back, NULL), 0);
		assert_true(json_equal(root, back));
		json_decref(back);
	}
	assert_int_equal(access(scratch_path(&scratch, "state/state.json.tmp", tmp), F_OK), -1);
	json_decref(root);
	state_store_free(store);
}

static void one_daemon_at_a_time(void **state)
{
	struct state_store *first = open_store(), *second = NULL;
	struct err err;

	(void)state;
	assert_int_equal(state_store_open(dir, &second, &err), -EBUSY);
	assert_null(second);
	assert_non_null(strstr(err.text, dir));
	state_store_free(first);
	second = open_store();
	state_store_free(second);
}

/* Left behind by a crash between writing and renaming. */
static void stale_temporary(void **state)
{
	struct state_store *store = open_store();
	json_t *root = example(5), *back = NULL;
	char tmp[256];

	(void)state;
	scratch_path(&scratch, "state/state.json.tmp", tmp);
	scratch_write(tmp, "{\"half", 6);
	assert_int_equal(state_store_load(store, &back, NULL), 0);
	assert_null(back);
	assert_int_equal(save(store, root, NULL), 0);
	assert_int_equal(state_store_load(store, &back, NULL), 0);
	assert_true(json_equal(root, back));
	json_decref(back);
	json_decref(root);
	state_store_free(store);
}

static void disk_full(void **state)
{
	struct state_store *store = open_store();
	json_t *old = example(1), *new = example(2), *back = NULL;
	char tmp[256];
	struct err err = {0};
	int expected;

	(void)state;
	assert_int_equal(save(store, old, NULL), 0);
	expected = scratch_fill(&scratch);
	assert_int_equal(save(store, new, &err), -expected);
	scratch_empty(&scratch);
	assert_int_equal(err.code, expected);
	assert_non_null(strstr(err.text, "not saved"));
	assert_int_equal(access(scratch_path(&scratch, "state/state.json.tmp", tmp), F_OK), -1);

	assert_int_equal(state_store_load(store, &back, NULL), 0);
	assert_true(json_equal(old, back));
	json_decref(back);
	assert_int_equal(save(store, new, NULL), 0);
	assert_int_equal(state_store_load(store, &back, NULL), 0);
	assert_true(json_equal(new, back));
	json_decref(back);
	json_decref(old);
	json_decref(new);
	state_store_free(store);
}

static unsigned int count_files(void)
{
	DIR *d = opendir(dir);
	unsigned int n = 0;

	assert_non_null(d);
	for (const struct dirent *e; (e = readdir(d));)
		n += *e->d_name != '.';
	closedir(d);
	return n;
}

/* The file or its directory does not get on disk: what is refused is not found after a restart, the first time, too. */
static void not_on_disk(void **state)
{
	json_t *old = example(1), *new = example(2), *back;
	struct state_store *store = open_store();
	struct err err = {0};

	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		if (i == 2)
			assert_int_equal(save(store, old, NULL), 0);
		failing_fsync = 1 + i % 2;
		assert_int_equal(save(store, new, &err), -EIO);
		assert_int_equal(failing_fsync, 0);
		assert_non_null(strstr(err.text, "not saved"));
		state_store_free(store);
		store = open_store();
		back = NULL;
		assert_int_equal(state_store_load(store, &back, NULL), 0);
		assert_true(i < 2 ? !back : json_equal(old, back));
		json_decref(back);
		assert_int_equal(count_files(), i < 2 ? 1 : 2); /* `lock`, and what is loaded */
	}
	assert_int_equal(save(store, new, NULL), 0);
	assert_int_equal(count_files(), 2);
	json_decref(old);
	json_decref(new);
	state_store_free(store);
}

/* Loads the file into a model; if that fails, the file must still be there afterwards, byte for byte. */
static int load_file(const char *text, size_t size, struct err *err)
{
	struct model_config config = {.state_dir = dir, .run_dir = scratch.path, .socket_group = UINT32_MAX};
	struct fake_dataplane dp;
	struct model *m = NULL;
	size_t after_size = 0;
	char *after;
	int r;

	fake_dp_init(&dp);
	scratch_write(file, text, size);
	assert_int_equal(model_new(&config, &m, NULL), 0);
	*err = (struct err){0};
	r = model_load(m, &fake_dp_ops, &dp, err);
	if (r < 0)
		assert_int_equal(dp.fabrics_n + dp.functions_n, 0);
	model_free(m);
	fake_dp_destroy(&dp);
	after = scratch_read(file, &after_size);
	assert_non_null(after);
	if (r < 0) {
		assert_int_equal(after_size, size);
		assert_memory_equal(after, text, size);
	}
	free(after);
	return r;
}

static const char good[] = "{\"format\": \"vpf-state\", \"version\": 3,\n"
			   " \"fabrics\": [{\"name\": \"f0\", \"uplink\": {\"type\": \"tap\", \"name\": "
			   "\"t0\"}, \"ageing\": 9}],\n"
			   " \"vms\": [{\"name\": \"vm0\", \"key\": "
			   "\"00112233445566778899aabbccddeeff\"}],\n"
			   " \"pfs\": [{\"name\": \"pf0\", \"fabric\": \"f0\", \"vfs\": 2, \"queue_pairs\": "
			   "1, \"mac\": \"02:00:00:00:01:00\",\n"
			   "   \"mtu\": 9000, \"qmp\": \"\", \"datapaths\": [{\"type\": \"vhost-user\", "
			   "\"path\": \"/b/{vf}\"}],\n"
			   "   \"failback\": true, \"policy\": {\"promisc\": true,\n"
			   "   \"vlans\": \"5,7\", \"mac_list\": [\"02:00:00:00:09:00\"]}, \"vm\": "
			   "\"vm0\",\n"
			   "   \"functions\": [{\"vf\": null, \"trust\": true}, {\"vf\": 1, \"mac\": "
			   "\"02:00:00:00:02:00\"}]}]}\n";

/* Cut short at any byte, it is refused and kept. The final newline and blanks may be missing. */
static void cut_short(void **state)
{
	size_t size = strlen(good), whole = size - 1;
	struct state_store *store = open_store(); /* makes the directory */
	struct err err;

	(void)state;
	state_store_free(store);
	assert_int_equal(load_file(good, size, &err), 0);
	for (size_t n = 0; n < whole; n++) {
		assert_int_equal(load_file(good, n, &err), -EBADMSG);
		assert_non_null(strstr(err.text, file));
		assert_non_null(strstr(err.text, "move it away"));
	}
}

/* The good file with one text in place of another. */
static int load_with(const char *from, const char *to, struct err *err)
{
	const char *at = strstr(good, from);
	char text[2048];
	int n;

	assert_non_null(at);
	n = snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - good), good, to, at + strlen(from));
	return load_file(text, (size_t)n, err);
}

static void refused_contents(void **state)
{
	static const struct {
		const char *from, *to;
		int code;
		const char *says;
	} cases[] = {
		{"\"version\": 3", "\"version\": 4", EPROTONOSUPPORT, "newer"},
		{"\"version\": 3", "\"version\": 0", EBADMSG, "no state file"},
		{"\"version\": 3", "\"version\": \"1\"", EBADMSG, "no state file"},
		{"vpf-state", "other", EBADMSG, "no state file"},
		{"\"format\": \"vpf-state\", ", "", EBADMSG, "no state file"},
		{"{\"format\"", "{\"extra\": 1, \"format\"", EBADMSG, "extra"},
		{"\"ageing\"", "\"type\": \"ovs\", \"ageing\"", EBADMSG, "fabrics[0].type"},
		{"\"ageing\"", "\"type\": \"bridge\", \"ageing\"", EBADMSG, "fabrics[0].bridge"},
		{"\"ageing\"", "\"bridge\": \"b0\", \"ageing\"", EBADMSG, "fabrics[0].bridge"},
		{"\"vhost-user\", \"path\"", "\"vhost-user\", \"pth\"", EBADMSG, "pfs[0].datapaths[0].pth"},
		{"\"vhost-user\", \"path\"", "\"builtin\", \"path\"", EBADMSG, "pfs[0].datapaths"},
		{"/b/{vf}", "b/{vf}", EBADMSG, "pfs[0].datapaths"},
		{"\"failback\": true", "\"failback\": 1", EBADMSG, "pfs[0].failback"},
		{"\"trust\": true", "\"datapaths\": []", EBADMSG, "pfs[0].functions[0].datapaths"},
		{"\"trust\": true", "\"datapaths\": [{\"type\": \"ovs\"}]", EBADMSG,
		 "pfs[0].functions[0].datapaths[0].type"},
		{"\"ageing\"", "\"aging\"", EBADMSG, "fabrics[0].aging"},
		{"\"promisc\"", "\"promiscuous\"", EBADMSG, "pfs[0].policy.promiscuous"},
		{"\"trust\": true", "\"thrust\": true", EBADMSG, "pfs[0].functions[0].thrust"},
		{"\"trust\": true", "\"trust\": 1", EBADMSG, "pfs[0].functions[0].trust"},
		{"\"trust\": true", "\"min_rate\": 1", EBADMSG, "pfs[0].policy.max_rate_total"},
		{"\"trust\": true", "\"max_rate\": 1000001", EBADMSG, "pfs[0].functions[0].max_rate"},
		{"\"trust\": true", "\"pinned\": [\"mtu\"]", EBADMSG, "pfs[0].functions[0].pinned[0]"},
		{"\"5,7\"", "\"0-7\"", EBADMSG, "pfs[0].policy.vlans"},
		{"\"5,7\"", "\"7-5\"", EBADMSG, "pfs[0].policy.vlans"},
		{"[\"02:00:00:00:09:00\"]", "[\"02:00:00:00:09\"]", EBADMSG, "pfs[0].policy.mac_list[0]"},
		{"\"vm\": \"vm0\"", "\"vm\": \"../vm0\"", EBADMSG, "pfs[0].vm"},
		{"\"name\": \"vm0\"", "\"name\": \"-\"", EBADMSG, "vms[0].name"},
		{"eeff\"}]", "eef\"}]", EBADMSG, "vms[0].key"},
		{"eeff\"}]", "eefg\"}]", EBADMSG, "vms[0].key"},
		{"eeff\"}]", "eeff\"}, {\"name\": \"vm0\", \"key\": \"00112233445566778899aabbccddeeff\"}]",
		 EBADMSG, "vms[1].name"},
		{"\"ageing\": 9", "\"ageing\": 0", EBADMSG, "fabrics[0].ageing"},
		{"\"name\": \"t0\"", "\"name\": \"t/0\"", EBADMSG, "fabrics[0].uplink.name"},
		{"\"fabric\": \"f0\"", "\"fabric\": \"f1\"", EBADMSG, "pfs[0].fabric"},
		{"\"vf\": 1", "\"vf\": 2", EBADMSG, "pfs[0].functions"},
		{"\"vf\": 1", "\"vf\": null", EBADMSG, "pfs[0].functions"},
		{"\"mac\": \"02:00:00:00:01:00\",", "", EBADMSG, "pfs[0].mac"},
		{"02:00:00:00:01:00", "03:00:00:00:01:00", EBADMSG, "pfs[0].mac"},
		{"02:00:00:00:02:00", "02:00:00:00:01:01", EBADMSG, "permanent"},
		{"\"mtu\": 9000", "\"mtu\": 9000, \"mtu\": 9000", EBADMSG, "duplicate"},
		{"}]}]}\n", "}]}]} x\n", EBADMSG, "damaged"},
		{"}]}]}\n",
		 "}]}, {\"name\": \"pf0\", \"fabric\": \"f0\", \"vfs\": 0, \"queue_pairs\": 1, \"mac\": "
		 "\"02:00:00:00:05:00\"}]}\n",
		 EBADMSG, "pfs[1].name"},
	};
	struct state_store *store = open_store();

	(void)state;
	state_store_free(store);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err;

		assert_int_equal(load_with(cases[i].from, cases[i].to, &err), -cases[i].code);
		assert_non_null(strstr(err.text, file));
		if (!strstr(err.text, cases[i].says))
			fail_msg("%s: does not say %s", err.text, cases[i].says);
	}
}

/* A file of an older vpfd, which knew no VMs: everything is as it was, new things have their defaults, and
 * the key is on disk before QEMU can have it. */
static void older_version(void **state)
{
	static const char old[] =
		"{\"format\": \"vpf-state\", \"version\": 1, \"fabrics\": [{\"name\": \"f0\"}],\n"
		" \"pfs\": [{\"name\": \"pf0\", \"fabric\": \"f0\", \"vfs\": 2, \"queue_pairs\": 1,"
		" \"mac\": \"02:00:00:00:01:00\", \"mtu\": 9000, \"qmp\": \"\","
		" \"policy\": {\"driver_mac\": false, \"max_driver_macs\": 3, \"promisc\": true},"
		" \"functions\": [{\"vf\": 1, \"trust\": true}]}]}\n";
	struct model_config config = {.state_dir = dir, .run_dir = scratch.path, .socket_group = UINT32_MAX};
	struct state_store *store = open_store();
	uint8_t key[MODEL_KEY_LEN], zero[MODEL_KEY_LEN] = {0};
	struct pf_settings expected;

	(void)state;
	state_store_free(store);
	scratch_write(file, old, strlen(old));
	pf_settings_init(&expected, "pf0");
	strcpy(expected.fabric, "f0");
	expected.vfs = 2;
	expected.mtu = 9000;
	expected.policy.driver_mac = false;
	expected.policy.max_driver_macs = 3;
	expected.policy.promisc = true;
	for (int i = 0; i < 2; i++) {
		struct fake_dataplane dp;
		struct model *m = NULL;
		const struct model_pf *pf;
		json_t *root;

		fake_dp_init(&dp);
		assert_int_equal(model_new(&config, &m, NULL), 0);
		assert_int_equal(model_load(m, &fake_dp_ops, &dp, NULL), 0);
		pf = model_pf_find(m, "pf0");
		assert_same_pf(&pf->s, &expected);
		assert_true(pf->fn[2].s.trust);
		assert_string_equal(pf->vm->name, "pf0");
		assert_int_equal(pf->vm->pfs, 1);
		assert_memory_not_equal(pf->vm->key, zero, sizeof(key));
		if (i) /* the one that was made is the one that stays */
			assert_memory_equal(pf->vm->key, key, sizeof(key));
		memcpy(key, pf->vm->key, sizeof(key));
		root = json_load_file(file, 0, NULL);
		assert_int_equal(json_integer_value(json_object_get(root, "version")), STATE_VERSION);
		assert_int_equal(json_array_size(json_object_get(root, "vms")), 1);
		json_decref(root);
		model_free(m);
		fake_dp_destroy(&dp);
	}
}

/* One that knew VMs, but served everything itself. */
static void version_2(void **state)
{
	static const char old[] =
		"{\"format\": \"vpf-state\", \"version\": 2, \"fabrics\": [{\"name\": \"f0\"}],\n"
		" \"vms\": [{\"name\": \"vm0\", \"key\": \"00112233445566778899aabbccddeeff\"}],\n"
		" \"pfs\": [{\"name\": \"pf0\", \"fabric\": \"f0\", \"vfs\": 1, \"queue_pairs\": 1, \"vm\": "
		"\"vm0\","
		" \"mac\": \"02:00:00:00:01:00\", \"functions\": [{\"vf\": 0, \"spoofchk\": false}]}]}\n";
	struct model_config config = {.state_dir = dir, .run_dir = scratch.path, .socket_group = UINT32_MAX};
	struct state_store *store = open_store();
	struct fake_dataplane dp;
	struct model *m = NULL;
	const struct model_pf *pf;
	char *text;
	size_t size;

	(void)state;
	state_store_free(store);
	scratch_write(file, old, strlen(old));
	fake_dp_init(&dp);
	assert_int_equal(model_new(&config, &m, NULL), 0);
	assert_int_equal(model_load(m, &fake_dp_ops, &dp, NULL), 0);
	pf = model_pf_find(m, "pf0");
	assert_ptr_equal(model_fabric_find(m, "f0")->s.type, &fabric_type_builtin);
	text = datapath_list_text(&pf->s.datapaths);
	assert_string_equal(text, "builtin");
	free(text);
	assert_false(pf->s.failback);
	assert_int_equal(pf->fn[1].s.datapaths.n, 0);
	assert_false(pf->fn[1].s.spoofchk);
	assert_string_equal(pf->vm->name, "vm0");
	/* Nothing has changed: an older vpfd may still have it back. */
	text = scratch_read(file, &size);
	assert_int_equal(size, strlen(old));
	free(text);
	model_free(m);
	fake_dp_destroy(&dp);
}

/* Keys are in it. */
static void private_file(void **state)
{
	struct state_store *store = open_store();
	json_t *root = example(1), *back = NULL;
	struct stat st;
	mode_t mask = umask(0);

	(void)state;
	assert_int_equal(save(store, root, NULL), 0);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	/* Not even if somebody has opened it up. */
	assert_int_equal(chmod(file, 0644), 0);
	assert_int_equal(save(store, root, NULL), 0);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(chmod(file, 0644), 0);
	assert_int_equal(state_store_load(store, &back, NULL), 0);
	json_decref(back);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	umask(mask);
	json_decref(root);
	state_store_free(store);
}

/* Bytes that are no text at all. */
static void garbage(void **state)
{
	struct state_store *store = open_store();
	char text[4096];
	struct err err;

	(void)state;
	state_store_free(store);
	srand(1);
	for (int i = 0; i < 200; i++) {
		size_t n = (size_t)rand() % sizeof(text);

		for (size_t j = 0; j < n; j++)
			text[j] = (char)rand();
		assert_int_equal(load_file(text, n, &err), -EBADMSG);
	}
	/* A file of one flipped bit is either refused or means something valid; it must not crash. */
	for (size_t i = 0; i < strlen(good) * 8; i++) {
		memcpy(text, good, strlen(good));
		text[i / 8] ^= (char)(1 << i % 8);
		load_file(text, strlen(good), &err);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(first_start, setup, teardown),
		cmocka_unit_test_setup_teardown(save_and_load, setup, teardown),
		cmocka_unit_test_setup_teardown(one_daemon_at_a_time, setup, teardown),
		cmocka_unit_test_setup_teardown(stale_temporary, setup, teardown),
		cmocka_unit_test_setup_teardown(disk_full, setup, teardown),
		cmocka_unit_test_setup_teardown(not_on_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(cut_short, setup, teardown),
		cmocka_unit_test_setup_teardown(refused_contents, setup, teardown),
		cmocka_unit_test_setup_teardown(version_2, setup, teardown),
		cmocka_unit_test_setup_teardown(older_version, setup, teardown),
		cmocka_unit_test_setup_teardown(private_file, setup, teardown),
		cmocka_unit_test_setup_teardown(garbage, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
