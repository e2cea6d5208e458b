#!/bin/bash
# A runtime in a page of shell, over bash's own sockets. Answers with its event, how often
# it has been called, and what it sees of where it is.
api="${AWS_LAMBDA_RUNTIME_API%:*}/${AWS_LAMBDA_RUNTIME_API#*:}"
base=/2018-06-01/runtime/invocation
calls=0
while true; do
  exec 5<>"/dev/tcp/$api" || exit 3
  printf 'GET %s/next HTTP/1.1\r\nHost: api\r\n\r\n' "$base" >&5
  length=0 id=
  while IFS= read -r line <&5 && line=${line%$'\r'} && [ -n "$line" ]; do
    case "${line,,}" in
      content-length:*) length=${line#*: } ;;
      lambda-runtime-aws-request-id:*) id=${line#*: } ;;
    esac
  done
  IFS= read -r -N "$length" event <&5
  calls=$((calls + 1))
  echo "call $calls"
  case "$event" in
    *exit*) exit 7 ;;
    *hang*) sleep 99 ;;
    *error*)
      answer='{"errorType": "Shell.Error", "errorMessage": "as asked"}'
      path="$base/$id/error"
      ;;
    *)
      answer="{\"event\": $event, \"calls\": $calls, \"uid\": $UID, \"cwd\": \"$PWD\"}"
      path="$base/$id/response"
      ;;
  esac
  printf 'POST %s HTTP/1.1\r\nHost: api\r\nContent-Length: %d\r\nLambda-Runtime-Function-Error-Type: Function.Asked\r\n\r\n%s' \
    "$path" "${#answer}" "$answer" >&5
  IFS= read -r _ <&5
  exec 5>&-
  case "$event" in
    *"for ever"*) sleep 99 ;;
    *linger*) sleep 0.3 ;;
    *"and leave"*) sleep 0.2; echo "leaving"; exit 9 ;;
  esac
done
