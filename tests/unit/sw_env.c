/* SPDX-License-Identifier: Apache-2.0 */

#include "sw_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "switch/control_box.h"

struct vguest_options sw_env_options(uint64_t features)
{
	return (struct vguest_options){
		.features = features | VIRTIO_BIT(VIRTIO_NET_F_MRG_RXBUF) |
			    VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC),
		.pairs = 1,
		.size = 256,
		.rx_len = 1526,
	};
}

struct builtin_fabric *sw_env_new_fabric(struct sw_env *e, const struct fabric_settings *s)
{
	struct fabric *f;
	struct err err = {0};

	if (fabric_new(&(struct fabric_config){.pool = e->pool}, s, NULL, &f, &err) < 0)
		fail_msg("%s", err.text);
	return builtin_of(f);
}

int sw_env_setup(void **state)
{
	struct sw_env *e = calloc(1, sizeof(*e));
	struct fabric_settings s;
	struct pf_settings pf;
	struct err err;

	assert_non_null(e);
	e->rng = 12345;
	pf_settings_init(&pf, "pf");
	pf.policy.promisc = true;
	e->policy = pf.policy;
	assert_int_equal(worker_pool_new((unsigned int)(uintptr_t)*state, 0, NULL, &e->pool, &err), 0);
	fabric_settings_init(&s, "f");
	assert_int_equal(control_box_new(e->pool, &e->box), 0);
	e->f = sw_env_new_fabric(e, &s);
	*state = e;
	return 0;
}

void sw_env_remove_all(struct sw_env *e)
{
	while (e->n) {
		vguest_stop(&e->g[--e->n]);
		fabric_port_free(&e->p[e->n]->base);
	}
}

int sw_env_teardown(void **state)
{
	struct sw_env *e = *state;

	sw_env_remove_all(e);
	for (unsigned int i = 0; i < e->pool->n; i++)
		assert_int_equal(e->pool->worker[i]->queues, 0);
	fabric_free(&e->f->base);
	control_box_free(e->box);
	worker_pool_free(e->pool);
	free(e);
	return 0;
}

void sw_env_fabric(struct sw_env *e, const struct fabric_settings *s)
{
	fabric_free(&e->f->base);
	e->f = sw_env_new_fabric(e, s);
}

void sw_env_mac(uint8_t mac[6], unsigned int n)
{
	memcpy(mac, (uint8_t[6]){2, 0, 0, 0, 0, (uint8_t)(n + 1)}, 6);
}

struct function_settings sw_env_settings(unsigned int n)
{
	struct function_settings s;

	function_settings_init(&s);
	sw_env_mac(s.mac, n);
	s.mtu = 1500;
	return s;
}

struct vguest *sw_env_add(struct sw_env *e, const struct function_settings *s, const struct vguest_options *o)
{
	struct function_settings usual = sw_env_settings(e->n);
	struct vguest_options usual_o = sw_env_options(0);
	struct fabric_port *port;

	assert_true(e->n < SW_ENV_PORTS);
	assert_int_equal(fabric_port_add(&e->f->base, "pf", e->n, s ? s : &usual, &e->policy, NULL, &port),
			 0);
	e->p[e->n] = builtin_port_of(port);
	if (e->n == VPF_FUNCTION_PF)
		e->p[e->n]->port->control = e->box;
	vguest_start(&e->g[e->n], e->p[e->n], o ? o : &usual_o);
	return &e->g[e->n++];
}

void sw_env_set(struct sw_env *e, unsigned int n, const struct function_settings *s)
{
	assert_int_equal(fabric_port_set(&e->p[n]->base, s, &e->policy, NULL, NULL), 0);
}

static struct builtin_port *port_by_id(struct sw_env *e, uint64_t id)
{
	for (unsigned int i = 0; i < e->f->base.n_ports; i++)
		if (builtin_port(e->f, i)->port->id == id)
			return builtin_port(e->f, i);
	return NULL;
}

bool sw_env_notes(struct sw_env *e)
{
	struct worker_note note;
	bool broken = false;
	uint64_t n;

	if (read(e->pool->notefd, &n, sizeof(n)) < 0)
		return false;
	for (unsigned int i = 0; i < e->pool->n; i++) {
		while (worker_next_note(e->pool->worker[i], &note)) {
			struct builtin_port *p = note.port_id ? port_by_id(e, note.port_id) : NULL;

			if (!note.port_id)
				broken = true;
			else if (p)
				builtin_learn(e->f, p, note.mac, note.vlan, 1000);
		}
	}
	return broken;
}

void sw_env_make(struct sw_env *e, unsigned int dst, unsigned int src, uint32_t len, uint32_t seed)
{
	uint8_t d[6], s[6];

	sw_env_mac(d, dst);
	sw_env_mac(s, src);
	frame_plain(&e->frame, d, s, len, seed);
}

void sw_env_send(struct sw_env *e, struct vguest *g, const struct virtio_net_hdr *hdr)
{
	vguest_send(g, 0, hdr, e->frame.data, e->frame.len);
	vguest_flush(g, 0);
}

void sw_env_expect(struct sw_env *e, struct vguest *g, const struct frame *f)
{
	assert_true(vguest_recv(g, 0, &e->got));
	assert_int_equal(e->got.len, f->len);
	assert_memory_equal(e->got.data, f->data, f->len);
}

void sw_env_expect_nothing(struct sw_env *e, struct vguest *g)
{
	assert_false(vguest_recv(g, 0, &e->got));
}

uint64_t sw_env_tx_drop(const struct vguest *g, enum drop_reason why)
{
	return vguest_stats(g).tx_drop[why];
}

uint64_t sw_env_rx_drop(const struct vguest *g, enum drop_reason why)
{
	return vguest_stats(g).rx_drop[why];
}

uint32_t sw_env_random(struct sw_env *e, uint32_t below)
{
	e->rng = e->rng * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(e->rng >> 33) % below;
}
