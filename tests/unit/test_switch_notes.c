/* SPDX-License-Identifier: Apache-2.0 */

/* What workers tell the main thread: new addresses, and rings that broke. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "sw_env.h"

static void test_learning(void **state)
{
	struct sw_env *e = *state;
	struct function_settings s = sw_env_settings(0);
	struct fabric_settings fs = e->f->base.settings;
	struct vguest *a, *b;
	struct err err;

	fs.learning = true;
	fs.max_learned = 4;
	assert_int_equal(fabric_set(&e->f->base, &fs, NULL, &err), 0);
	s.spoofchk = false;
	a = sw_env_add(e, &s, NULL);
	b = sw_env_add(e, NULL, NULL);
	sw_env_make(e, 6, 1, 100, 1);
	sw_env_send(e, b, NULL);
	assert_int_equal(sw_env_tx_drop(b, DROP_NO_ROUTE), 1);
	sw_env_make(e, 1, 6, 100, 1); /* a bridge behind a */
	sw_env_send(e, a, NULL);
	sw_env_expect(e, b, &e->frame);
	sw_env_notes(e);
	assert_int_equal(e->f->learned, 1);
	sw_env_make(e, 6, 1, 100, 1);
	sw_env_send(e, b, NULL);
	sw_env_expect(e, a, &e->frame);
	/* As many as may be; and then no more notes, whatever comes. */
	for (unsigned int i = 0; i < 250; i++) {
		sw_env_make(e, 1, 7 + i % 200, 100, 1);
		vguest_send(a, 0, NULL, e->frame.data, e->frame.len);
		vguest_flush(a, 0);
		assert_true(vguest_recv(b, 0, &e->got));
		sw_env_notes(e);
	}
	assert_int_equal(e->f->learned, 4);
	for (unsigned int i = 0; i < 2; i++) {
		/* The second round: what can never be learned is no news to tell either. */
		sw_env_make(e, 1, 0, 100, 1);
		if (i)
			memset(e->frame.data + 6, 0, 6);
		else
			e->frame.data[9] = 99;
		sw_env_send(e, a, NULL);
		assert_true(vguest_recv(b, 0, &e->got));
		for (unsigned int w = 0; w < e->pool->n; w++)
			assert_false(worker_next_note(e->pool->worker[w], &(struct worker_note){0}));
	}
	/* b's own address stays b's, a may imitate it as it likes. */
	sw_env_make(e, 1, 1, 100, 1);
	sw_env_send(e, a, NULL);
	assert_true(vguest_recv(b, 0, &e->got));
	sw_env_notes(e);
	sw_env_make(e, 1, 0, 100, 1);
	sw_env_send(e, a, NULL);
	sw_env_expect(e, b, &e->frame);
}

/* An address of zero is not to be learned, nor worth a note. */
static void test_learn_zero(void **state)
{
	struct sw_env *e = *state;
	struct function_settings s = sw_env_settings(0);
	struct fabric_settings fs = e->f->base.settings;
	struct vguest *a, *b;
	struct err err;

	fs.learning = true;
	assert_int_equal(fabric_set(&e->f->base, &fs, NULL, &err), 0);
	s.spoofchk = false;
	a = sw_env_add(e, &s, NULL);
	b = sw_env_add(e, NULL, NULL);
	sw_env_make(e, 1, 0, 100, 1);
	memset(e->frame.data + 6, 0, 6);
	sw_env_send(e, a, NULL);
	sw_env_expect(e, b, &e->frame);
	for (unsigned int w = 0; w < e->pool->n; w++)
		assert_false(worker_next_note(e->pool->worker[w], &(struct worker_note){0}));
}

/* A ring that breaks ends alone, is told, and works when it is started again. */
static void test_broken_ring(void **state)
{
	struct sw_env *e = *state;
	struct vguest *a = sw_env_add(e, NULL, NULL), *b = sw_env_add(e, NULL, NULL),
		      *c = sw_env_add(e, NULL, NULL);
	struct vdriver_buf bad = {0, 100, false};

	sw_env_notes(e);
	assert_int_equal(vdriver_add(&a->tx[0], &bad, 1, VDRIVER_DIRECT, &a->tx_gpa[0][0]), 0);
	vdriver_kick(&a->tx[0]);
	/* When it was noticed, the note is there. */
	{
		bool told = false;

		for (unsigned int i = 0; !told && i < 1000000; i++) {
			told = sw_env_notes(e);
			if (!told) {
				sw_env_make(e, 2, 1, 100, i);
				sw_env_send(e, b, NULL);
				sw_env_expect(e, c, &e->frame);
			}
		}
		assert_true(told);
	}
	assert_string_equal(a->port->queue[1]->vr.broken, "a buffer lies outside guest memory");
	assert_false(vdriver_has_used(&a->tx[0]));
	sw_env_make(e, 0, 1, 100, 1);
	sw_env_send(e, b, NULL);
	sw_env_expect(e, a, &e->frame); /* its other queue goes on */
	vguest_queue_anew(a, 1);
	sw_env_make(e, 1, 0, 100, 1);
	sw_env_send(e, a, NULL);
	sw_env_expect(e, b, &e->frame);

	/* A receive ring: the frames for it are dropped. */
	vguest_queue_anew(c, 0);
	assert_int_equal(vdriver_add(&c->rx[0], &bad, 1, VDRIVER_DIRECT, &c->rx_gpa[0][0]), 0);
	sw_env_make(e, 2, 0, 100, 1);
	sw_env_send(e, a, NULL);
	assert_true(sw_env_notes(e));
	assert_string_equal(c->port->queue[0]->vr.broken,
			    "a buffer of the receive queue is not device-writable");
	assert_int_equal(sw_env_rx_drop(c, DROP_RING), 1);
	sw_env_send(e, a, NULL);
	assert_int_equal(sw_env_rx_drop(c, DROP_RING), 2);
	sw_env_make(e, 1, 0, 100, 1);
	sw_env_send(e, a, NULL);
	sw_env_expect(e, b, &e->frame);
	sw_env_make(e, 1, 2, 100, 1);
	sw_env_send(e, c, NULL); /* its transmit queue goes on */
	sw_env_expect(e, b, &e->frame);
}

/* The news of a broken ring is not lost among other notes. */
static void test_broken_note_survives(void **state)
{
	struct sw_env *e = *state;
	struct fabric_settings fs = e->f->base.settings;
	struct function_settings s = sw_env_settings(0);
	struct vdriver_buf bad = {0, 100, false};
	struct vguest *a, *b, *c;
	struct err err;

	fs.learning = true;
	fs.max_learned = 65536;
	assert_int_equal(fabric_set(&e->f->base, &fs, NULL, &err), 0);
	s.spoofchk = false;
	a = sw_env_add(e, &s, NULL);
	b = sw_env_add(e, NULL, NULL);
	c = sw_env_add(e, NULL, NULL);
	/* Notes that are not taken. */
	for (unsigned int i = 0; i < 4 * WORKER_NOTES; i++) {
		sw_env_make(e, 1, 0, 60, 1);
		e->frame.data[8] = (uint8_t)(i >> 8);
		e->frame.data[9] = (uint8_t)(i + 1);
		vguest_send(a, 0, NULL, e->frame.data, e->frame.len);
		vguest_flush(a, 0);
		assert_true(vguest_recv(b, 0, &e->got));
	}
	/* c's receive ring breaks when a's worker, whose queue of notes is full, looks at it. */
	vguest_queue_anew(c, 0);
	assert_int_equal(vdriver_add(&c->rx[0], &bad, 1, VDRIVER_DIRECT, &c->rx_gpa[0][0]), 0);
	sw_env_make(e, 2, 0, 100, 1);
	sw_env_send(e, a, NULL);
	assert_int_equal(sw_env_rx_drop(c, DROP_RING), 1);
	assert_true(sw_env_notes(e));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SW_ENV_TESTS(test_learning),
		SW_ENV_TESTS(test_learn_zero),
		SW_ENV_TESTS(test_broken_ring),
		SW_ENV_TESTS(test_broken_note_survives),
	};

	return cmocka_run_group_tests_name("switch_notes", tests, NULL, NULL);
}
