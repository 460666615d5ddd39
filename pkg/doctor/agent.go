package doctor

import "context"

// runningAgent asks the running agent. Its failures are warnings: the other checks find what a node lacks.
func runningAgent(ctx context.Context, c *Config) Finding {
	if c.Agent == nil {
		return skip("no address of the running agent is configured")
	}
	if _, err := c.Agent(ctx, "healthz"); err != nil {
		return finding(Warn, "see its log", "the agent is not live: %v", err)
	}
	if _, err := c.Agent(ctx, "readyz"); err != nil {
		return finding(Warn, "see its log", "the agent is not ready: %v", err)
	}
	if _, err := c.Agent(ctx, "listenz"); err != nil {
		return finding(Warn, "stop the program that has the address (ss -ltnp names it), or give agent run another one with --listen", "bonds are repaired; %v", err)
	}
	return ok("live and ready")
}
