from aws_lambda_powertools.event_handler import ALBResolver

app = ALBResolver()


@app.get("/orders/<number>")
def read(number: str):
    details = app.current_event.get_query_string_value("details")
    return {"number": number, "details": details}


def handler(event, context):
    return app.resolve(event, context)
