package main

import (
	"context"
	"errors"
)

var errTestsFailed = errors.New("tests failed")

func test(ctx context.Context, args []string) error { return nil }
