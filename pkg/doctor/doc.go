// Package doctor looks at what the agent and the plugin need of a node, and says what is lacking and what to do.
//
// It decides nothing and repairs nothing, and what it makes to find out (a netns with a bond, a file in the state
// directory) is gone when it answers. It asks other rooms for what they know; how a link is made or a record kept is theirs.
package doctor
