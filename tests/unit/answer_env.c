/* SPDX-License-Identifier: Apache-2.0 */

#include "answer_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

struct an_env *an_env;
bool an_calling;
static unsigned int answers;

void an_on_answer(void *ctx, int r, const struct err *err)
{
	struct an_told *t = ctx;

	assert_false(an_calling); /* never from within the call that began it */
	t->n++;
	t->r = r;
	t->err = *err;
	t->order = ++answers;
	if (t->then)
		t->then(t);
}

static void on_trouble(void *ctx, struct fabric *f, struct fabric_port *p, const char *why)
{
	struct an_env *e = ctx;

	assert_ptr_equal(f, e->f);
	assert_true(!p || p == e->p); /* NULL: the fabric's own */
	e->troubles++;
	snprintf(e->why, sizeof(e->why), "%s", why);
}

static void on_link(void *ctx, struct fabric_port *p, bool up)
{
	struct an_env *e = ctx;

	(void)p;
	(void)up;
	e->links++;
}

static const struct fabric_events events = {.trouble = on_trouble, .link_changed = on_link};

int an_make(struct an_env *e, uint64_t answer_us)
{
	struct fabric_config config = {
		.event = e->event, .answer_us = answer_us, .events = &events, .ctx = e};
	struct err err = {0};
	int r;

	an_calling = true;
	r = fabric_new(&config, &e->s, &(struct answer){an_on_answer, &e->made}, &e->f, &err);
	an_calling = false;
	return r;
}

void an_add_port(struct an_env *e)
{
	struct function_settings s;

	function_settings_init(&s);
	s.mtu = 1000;
	assert_int_equal(fabric_port_add(e->f, "pf", 1, &s, &e->policy, NULL, &e->p), 0);
	ff.log[0] = 0;
}

int an_setup_bare(void **state)
{
	struct an_env *e = calloc(1, sizeof(*e));
	struct pf_settings pf;

	assert_non_null(e);
	assert_true(sd_event_new(&e->event) >= 0);
	fabric_settings_init(&e->s, "f");
	pf_settings_init(&pf, "pf");
	e->policy = pf.policy;
	ff_reset();
	answers = 0;
	*state = an_env = e;
	return 0;
}

static int setup_of(void **state, uint64_t answer_us)
{
	an_setup_bare(state);
	assert_int_equal(an_make(*state, answer_us), 0);
	an_add_port(*state);
	return 0;
}

int an_setup(void **state)
{
	return setup_of(state, AN_PATIENT_US);
}

int an_setup_short(void **state)
{
	return setup_of(state, AN_SHORT_US);
}

void an_end(struct an_env *e)
{
	if (e->p)
		for (unsigned int i = 0; i < ARRAY_SIZE(e->use); i++)
			fabric_port_close(e->p, &e->use[i]);
	fabric_port_free(e->p);
	fabric_free(e->f);
	e->p = NULL;
	e->f = NULL;
}

int an_teardown(void **state)
{
	struct an_env *e = *state;

	an_end(e);
	sd_event_unref(e->event);
	free(e);
	return 0;
}

void an_pump(struct an_env *e)
{
	while (sd_event_run(e->event, 0) > 0)
		;
}

int an_set_all(struct an_env *e, unsigned int i, uint16_t mtu, const struct pf_policy *policy,
	       struct err *err)
{
	struct function_settings s = e->p->settings;
	int r;

	s.mtu = mtu;
	an_calling = true;
	r = fabric_port_set(e->p, &s, policy, &(struct answer){an_on_answer, &e->set[i]}, err);
	an_calling = false;
	return r;
}

int an_set(struct an_env *e, unsigned int i, uint16_t mtu)
{
	return an_set_all(e, i, mtu, NULL, NULL);
}

int an_open(struct an_env *e, unsigned int i, struct err *err)
{
	int r;

	an_calling = true;
	r = fabric_port_open(e->p, &e->use[i], 2, &(struct answer){an_on_answer, &e->opened[i]}, err);
	an_calling = false;
	return r;
}

void an_close(struct an_env *e, unsigned int i)
{
	an_calling = true;
	fabric_port_close(e->p, &e->use[i]);
	an_calling = false;
}

void an_answer(struct an_env *e, int r)
{
	ff_port_answer(e->p, r);
}

void an_all(enum ff_how how)
{
	for (unsigned int i = FF_PORT_SET; i < FF_OPS; i++)
		ff.how[i] = how;
}

void an_expect_told(const struct an_told *t, int r)
{
	assert_int_equal(t->n, 1);
	assert_int_equal(t->r, r);
	assert_string_equal(t->err.text, r < 0 ? "scripted" : "");
	assert_string_equal(t->err.field, r < 0 ? "mtu" : "");
}

void an_expect_open(struct an_env *e, bool open)
{
	assert_int_equal(ff_port_of(e->p)->open, open);
	assert_int_equal(e->p->attach.kind, open ? ATTACH_TAP : ATTACH_NONE);
}
void an_expect_late(const struct an_told *t)
{
	assert_int_equal(t->n, 1);
	assert_int_equal(t->r, -ETIMEDOUT);
	assert_non_null(strstr(t->err.text, "fabric f did not answer in time"));
}

void an_free_all(void *ctx)
{
	(void)ctx;
	an_end(an_env);
}
