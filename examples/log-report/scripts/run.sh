# What a task of the job runs: the awk program in $1 with the variables in the other arguments (NAME=VALUE each).
# Program and data come with the task, so that it runs on any worker that has sh and awk.
set -eu
program=$1
shift
for variable do
  shift
  set -- "$@" -v "$variable"
done
LC_ALL=C exec awk "$@" "$program"
