/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Settings compared field by field, as structures have padding. A failure names the field and the line of the
 * test. The program's own comparisons are not used: they are what is tested. */

#include "settings/settings.h"

#define assert_same_fabric(a, b)   same_fabric(a, b, __FILE__, __LINE__)
#define assert_same_pf(a, b)       same_pf(a, b, __FILE__, __LINE__)
#define assert_same_function(a, b) same_function(a, b, __FILE__, __LINE__)
#define assert_same_vlan(a, b)     same_vlan(a, b, __FILE__, __LINE__)

void same_fabric(const struct fabric_settings *a, const struct fabric_settings *b, const char *file,
		 int line);
void same_pf(const struct pf_settings *a, const struct pf_settings *b, const char *file, int line);
void same_function(const struct function_settings *a, const struct function_settings *b, const char *file,
		   int line);
void same_vlan(const struct vlan_settings *a, const struct vlan_settings *b, const char *file, int line);
