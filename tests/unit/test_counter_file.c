/* SPDX-License-Identifier: Apache-2.0 */

/* Counters that outlive the process: over restarts with other numbers of workers, over a kill, over whatever
 * is found in the file's place. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "scratch_dir.h"
#include "switch/counter_file.h"
#include "util/util.h"

#define FUNCTIONS 5
#define FIELDS    (sizeof(struct port_stats) / sizeof(uint64_t))

struct env {
	struct scratch dir;
	char path[256];
};

static int setup(void **state)
{
	struct env *e = calloc(1, sizeof(*e));

	assert_non_null(e);
	scratch_make(&e->dir);
	scratch_path(&e->dir, "counters", e->path);
	*state = e;
	return 0;
}

static int teardown(void **state)
{
	struct env *e = *state;

	scratch_remove(&e->dir);
	free(e);
	return 0;
}

static struct counter_file *open_file(struct env *e, unsigned int functions, unsigned int workers, bool lost)
{
	struct counter_file *f;
	const char *why = "?";

	assert_int_equal(counter_file_open(e->path, functions, workers, &f, &why), 0);
	if (lost != !!why)
		fail_msg("lost: %s", why ? why : "nothing");
	return f;
}

/* Every counter of every function counts something of its own in each worker. */
static void count(struct counter_file *f, unsigned int workers)
{
	for (unsigned int fn = 0; fn < FUNCTIONS; fn++)
		for (unsigned int w = 0; w < workers; w++)
			for (unsigned int i = 0; i < FIELDS; i++)
				((uint64_t *)&counter_file_stats(f, fn)[w])[i] += 1000 * fn + i + (w == 0);
}

/* What so many rounds of that make, with a sum of workers. */
static void expect(const struct counter_file *f, unsigned int rounds, unsigned int workers)
{
	for (unsigned int fn = 0; fn < FUNCTIONS; fn++)
		for (unsigned int i = 0; i < FIELDS; i++)
			assert_int_equal(((const uint64_t *)counter_file_base(f, fn))[i],
					 workers * (1000 * fn + i) + rounds);
}

static void expect_zero(struct counter_file *f, unsigned int workers)
{
	static const struct port_stats none;

	for (unsigned int fn = 0; fn < FUNCTIONS; fn++) {
		assert_memory_equal(counter_file_base(f, fn), &none, sizeof(none));
		for (unsigned int w = 0; w < workers; w++)
			assert_memory_equal(&counter_file_stats(f, fn)[w], &none, sizeof(none));
	}
}

static void test_restarts(void **state)
{
	struct env *e = *state;
	static const unsigned int workers[] = {1, 3, 2, 2, 64, 1};
	struct counter_file *f = open_file(e, FUNCTIONS, 4, false);
	unsigned int sum = 0;
	struct stat st;

	expect_zero(f, 4);
	counter_file_close(f);
	for (unsigned int i = 0; i < ARRAY_SIZE(workers); i++) {
		f = open_file(e, FUNCTIONS, workers[i], false);
		expect(f, i, sum);
		count(f, workers[i]);
		sum += workers[i];
		expect(f, i, sum - workers[i]); /* the base is where it began */
		counter_file_close(f);
	}
	assert_int_equal(lstat(e->path, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	/* It takes what it says, and all of that at once. */
	assert_true(st.st_size <= (off_t)(64 + FUNCTIONS * 2 * sizeof(struct port_stats)));
	assert_true(st.st_blocks * 512 >= st.st_size);
	counter_file_remove(e->path);
	assert_int_equal(lstat(e->path, &st), -1);
	f = open_file(e, FUNCTIONS, 1, false);
	expect_zero(f, 1);
	counter_file_close(f);
}

static void test_killed(void **state)
{
	struct env *e = *state;
	struct counter_file *f;
	int status;

	for (unsigned int i = 0; i < 3; i++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (!pid) {
			f = open_file(e, FUNCTIONS, 2, false);
			count(f, 2);
			kill(getpid(), SIGKILL);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
	}
	f = open_file(e, FUNCTIONS, 2, false);
	expect(f, 3, 6);
	counter_file_close(f);
}

/* One byte in the header, or the size, is not what it was. */
static void test_damaged(void **state)
{
	struct env *e = *state;
	size_t size = 0, sizes[] = {0, 1, 63, 64, 0, 0, 0};
	char *text;

	for (unsigned int at = 0; at < 24; at++) {
		struct counter_file *f = open_file(e, FUNCTIONS, 2, false);

		count(f, 2);
		counter_file_close(f);
		text = scratch_read(e->path, &size);
		text[at] ^= (char)(1 + at * 10);
		scratch_write(e->path, text, size);
		free(text);
		f = open_file(e, FUNCTIONS, 2, true);
		expect_zero(f, 2);
		counter_file_close(f);
		counter_file_remove(e->path);
	}
	sizes[4] = size - 1;
	sizes[5] = size + 1;
	sizes[6] = 1 << 20;
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct counter_file *f = open_file(e, FUNCTIONS, 2, false);

		count(f, 2);
		counter_file_close(f);
		assert_int_equal(truncate(e->path, (off_t)sizes[i]), 0);
		f = open_file(e, FUNCTIONS, 2, true);
		expect_zero(f, 2);
		counter_file_close(f);
		counter_file_remove(e->path);
	}
	/* Of another virtual PF. */
	counter_file_close(open_file(e, FUNCTIONS + 1, 2, false));
	counter_file_close(open_file(e, FUNCTIONS, 2, true));
	counter_file_close(open_file(e, FUNCTIONS, 2, false));
}

/* What is in its place is neither waited for, nor followed, nor written to. */
static void test_in_the_way(void **state)
{
	struct env *e = *state;
	struct counter_file *f;
	char other[256], other_new[256], *text;
	const char *lost;
	struct stat st;
	size_t size;

	/* A link to a file with counters in it. */
	scratch_path(&e->dir, "other", other);
	f = open_file(e, FUNCTIONS, 2, false);
	count(f, 2);
	counter_file_close(f);
	assert_int_equal(rename(e->path, other), 0);
	assert_int_equal(symlink("other", e->path), 0);
	f = open_file(e, FUNCTIONS, 2, true);
	expect_zero(f, 2);
	count(f, 2);
	counter_file_close(f);
	assert_int_equal(lstat(e->path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	memcpy(other_new, e->path, sizeof(other_new));
	memcpy(e->path, other, sizeof(e->path));
	f = open_file(e, FUNCTIONS, 2, false);
	expect(f, 1, 2);
	counter_file_close(f);
	memcpy(e->path, other_new, sizeof(e->path));
	/* A FIFO without a writer. */
	counter_file_remove(e->path);
	assert_int_equal(mkfifo(e->path, 0600), 0);
	counter_file_close(open_file(e, FUNCTIONS, 2, true));
	/* A leftover, or a trap, under the name that is used first. */
	scratch_path(&e->dir, "counters.new", other_new);
	assert_int_equal(symlink(other, other_new), 0);
	text = scratch_read(other, &size);
	counter_file_close(open_file(e, FUNCTIONS, 3, false));
	{
		size_t now;
		char *same = scratch_read(other, &now);

		assert_int_equal(now, size);
		assert_memory_equal(same, text, size);
		free(same);
	}
	free(text);
	/* Somebody else's: he could shrink it under us. */
	if (!geteuid()) {
		assert_int_equal(chown(e->path, 65534, 65534), 0);
		f = open_file(e, FUNCTIONS, 2, true);
		counter_file_close(f);
		assert_int_equal(lstat(e->path, &st), 0);
		assert_int_equal(st.st_uid, 0);
	}
	/* A directory cannot be replaced. */
	counter_file_remove(e->path);
	assert_int_equal(mkdir(e->path, 0755), 0);
	assert_int_equal(counter_file_open(e->path, FUNCTIONS, 2, &f, &lost), -EISDIR);
	assert_int_equal(lstat(other_new, &st), -1);
}

/* No room for a new file: the old one stays as it is. */
static void test_full(void **state)
{
	struct env *e = *state;
	struct counter_file *f = open_file(e, FUNCTIONS, 2, false);
	const char *lost;
	char tmp[256];
	struct stat st;
	int r;

	count(f, 2);
	counter_file_close(f);
	r = scratch_fill(&e->dir);
	assert_int_equal(counter_file_open(e->path, FUNCTIONS, 64, &f, &lost), -r);
	assert_int_equal(lstat(scratch_path(&e->dir, "counters.new", tmp), &st), -1);
	scratch_empty(&e->dir);
	f = open_file(e, FUNCTIONS, 1, false);
	expect(f, 1, 2);
	/* Full once more, while it is in use: there is nothing that it still needs. */
	scratch_fill(&e->dir);
	count(f, 1);
	/* The file is taken away, and another put there that is too short. */
	scratch_empty(&e->dir);
	assert_int_equal(unlink(e->path), 0);
	scratch_write(e->path, "", 0);
	count(f, 1);
	counter_file_close(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_restarts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_in_the_way, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
	};

	return cmocka_run_group_tests_name("counter_file", tests, NULL, NULL);
}
