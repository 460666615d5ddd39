// Package image makes the project's container image where there is no Docker, as the Dockerfile says: it runs the
// build stage's go build commands and packs what the final stage copies, with that stage's labels, user and
// command. So tests run the image that users get, and the two cannot drift apart.
//
// It understands what the project's own Dockerfile uses, and refuses the rest.
package image
