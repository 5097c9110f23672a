#!/bin/bash
# Tasks on a schedule. The fields are minute, hour, day of month, month, day of week (0 or 7: Sunday).
set -euo pipefail

# Print the next times of a schedule. Needs no server.
ollama-queue cron test --schedule "0 9 * * 1-5"

# Every minute, every hour, at nine on working days, on Mondays at half past eight, four times an
# hour. Without --disabled they are active at once.
cron=$(ollama-queue cron add --name "Pulse" --schedule "* * * * *" --model qwen3 --prompt "Say one word" --disabled)
ollama-queue cron add --name "Hourly" --schedule "0 * * * *" --model qwen3 --prompt "Sum up the last hour" --disabled
ollama-queue cron add --name "Plan" --schedule "0 9 * * 1-5" --model qwen3 --prompt "Plan the day" --disabled
ollama-queue cron add --name "Mondays" --schedule "30 8 * * 1" --model qwen3 --prompt "Sum up last week" --disabled
ollama-queue cron add --name "Quarters" --schedule "*/15 * * * *" --model qwen3 --prompt "Look at the figures" --disabled

ollama-queue cron list
ollama-queue cron show "$cron"
ollama-queue cron enable "$cron"
ollama-queue cron disable "$cron"
ollama-queue cron update "$cron" --schedule "0 10 * * *" --priority high
ollama-queue cron run "$cron"
ollama-queue cron remove "$cron"
