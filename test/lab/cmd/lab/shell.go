package main

import "context"

func shell(ctx context.Context, args []string) error { return nil }
