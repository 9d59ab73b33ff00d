/* SPDX-License-Identifier: Apache-2.0 */

#include "ring_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

int ring_env_setup(void **state)
{
	struct ring_env *e = calloc(1, sizeof(*e));
	struct vhost_queue q;

	assert_non_null(e);
	e->variant = *state;
	e->rng = 88172645463325252u;
	vmem_init(&e->vm, RING_ENV_MEM);
	e->bufs = vmem_alloc(&e->vm, 65536, 4096);
	vdriver_init(&e->d, &e->vm, e->variant->size, e->variant->features, e->variant->base);
	q = vdriver_queue(&e->d, 1);
	vring_start(&e->vr, &q);
	*state = e;
	return 0;
}

int ring_env_teardown(void **state)
{
	struct ring_env *e = *state;

	vdriver_done(&e->d);
	vmem_done(&e->vm);
	free(e);
	return 0;
}

void ring_env_restart(struct ring_env *e)
{
	struct vhost_queue q;

	vdriver_done(&e->d);
	vdriver_init(&e->d, &e->vm, e->variant->size, e->variant->features, e->variant->base);
	q = vdriver_queue(&e->d, 1);
	vring_start(&e->vr, &q);
}

unsigned int ring_env_take(struct ring_env *e, bool writable, unsigned int max)
{
	return vring_take(&e->vr, writable, e->chains, max, e->segs, RING_SEGS, &e->nseg);
}

uint32_t ring_env_random(struct ring_env *e, uint32_t below)
{
	e->rng ^= e->rng << 13;
	e->rng ^= e->rng >> 7;
	e->rng ^= e->rng << 17;
	return (uint32_t)((e->rng >> 11) % below);
}

void ring_env_check_works(struct ring_env *e)
{
	struct vdriver_buf buf = {e->bufs, 100, false};
	int token;

	assert_null(e->vr.broken);
	assert_int_equal(ring_env_take(e, false, 1), 0);
	assert_int_equal(vdriver_add(&e->d, &buf, 1, VDRIVER_DIRECT, &token), 0);
	assert_true(vring_has_work(&e->vr));
	assert_int_equal(ring_env_take(e, false, 8), 1);
	assert_int_equal(e->chains[0].len, 100);
	vring_put(&e->vr, e->chains, 1);
	assert_ptr_equal(vdriver_get(&e->d, NULL), &token);
	assert_null(e->vr.broken);
}
