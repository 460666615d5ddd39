// Package whereabouts runs the IPAM plugin whereabouts as that of bonds, against a real API server: ADD, CHECK and DEL
// by the plugin, and the release by the agent, with and without access to the API server. The bonds are those of the
// fake kernel, because only the calls of the IPAM plugin matter here; test/e2e has bonds over real VFs. Its tests have
// the build tag kube.
package whereabouts
