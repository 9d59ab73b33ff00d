/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the tests of the builtin fabric start from: a fabric that learns, ports without guests, and the events
 * that were told. */

#include "fabric/builtin/builtin.h"

#define FABRIC_ENV_PORTS 32

struct fabric_env {
	struct worker_pool *pool;
	struct builtin_fabric *f;
	struct builtin_port *p[FABRIC_ENV_PORTS];
	unsigned int n;
	/* events */
	unsigned int conflicts, links;
	const struct fabric_port *last;
	uint8_t conflict_mac[6];
};

int fabric_env_setup(void **state);
int fabric_env_teardown(void **state);

/* Addresses by number. */
void fabric_env_make_mac(uint8_t mac[6], unsigned int n);
uint64_t fabric_env_mac(unsigned int n);

/* The usual settings, with MAC n; and in a VLAN, or a trunk of those from `from` to `to`. */
struct function_settings fabric_env_settings(unsigned int n);
struct function_settings fabric_env_access(unsigned int n, uint16_t vid, uint16_t tpid);
struct function_settings fabric_env_trunk(unsigned int n, unsigned int from, unsigned int to);
struct pf_policy fabric_env_policy(void);

/* The next port. p NULL: the usual policy. */
struct builtin_port *fabric_env_add(struct fabric_env *e, const struct function_settings *s,
				    const struct pf_policy *p);
struct builtin_port *fabric_env_add_mac(struct fabric_env *e, unsigned int n);
struct builtin_port *fabric_env_add_learner(struct fabric_env *e, unsigned int n); /* no spoof check */
void fabric_env_set(struct builtin_port *p, const struct function_settings *s);
/* What a driver programs: its main MAC, and n more from number `first` on. */
void fabric_env_filter(struct builtin_port *p, unsigned int main_mac, unsigned int first, unsigned int n);

/* Of MAC n in a VLAN; NULL: it has none. */
struct builtin_port *fabric_env_owner(const struct fabric_env *e, unsigned int n, uint16_t vlan);
/* From MAC n, with spoof check. */
bool fabric_env_may_send(const struct builtin_port *p, unsigned int n);
